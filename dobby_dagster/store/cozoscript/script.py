"""Building CozoScript: names are validated, values are parameters, nothing else goes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.settings import IDENTIFIER

# A machine's clock may be set back, yet the latest write must stay the latest: a script that writes with validity first
# advances the database's own clock, to now or by one microsecond, and MOMENT binds `at` to it. States are therefore read
# at 'END', not at 'NOW'.
TICK = (
    "{ ?[name, at] := name = 'clock', *dobby_clock{name, at: before}, at = max(to_int(now() * 1000000), before + 1)"
    " :put dobby_clock {name => at} }"
)
MOMENT = "*dobby_clock{name: 'clock', at: moment}, at = [moment, true]"


def name(text: str) -> str:
    """``text`` if it is an identifier; the only way for a name into a script.

    Raises:
        SourceError: It is not an identifier.
    """
    if not IDENTIFIER.fullmatch(text):
        raise SourceError(f"{text!r} is not a name of a relation or column", hint="letters, digits and underscores")
    return text


def unpack(columns: Sequence[str], rows: str = "rows", row: str = "r") -> str:
    """Atoms that bind ``columns`` from each row of the parameter ``$rows``.

    >>> unpack(["a", "b"])
    'r in $rows, a = get(r, 0), b = get(r, 1)'
    """
    bound = (f"{column} = get({row}, {index})" for index, column in enumerate(columns))
    return ", ".join([f"{row} in ${rows}", *bound])


def script(blocks: Iterable[str]) -> str:
    """Blocks as one script, which is one transaction; the result is the last block's."""
    blocks = list(blocks)
    timed = any(MOMENT in block for block in blocks)
    return "\n".join([TICK, *blocks] if timed else blocks)
