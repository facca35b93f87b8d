"""Building CozoScript: names are validated, values are parameters, nothing else goes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.settings import IDENTIFIER


def name(text: str) -> str:
    """``text`` if it is an identifier; the only way by which a name may enter a script.

    Raises:
        SourceError: It is none.
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


def put(relation: str, keys: Sequence[str], values: Sequence[str], rows: str = "rows") -> str:
    """A block that puts the parameter ``$rows``, whose rows hold ``keys`` then ``values``; ``at`` is now."""
    columns = [c for c in (*keys, *values) if c != "at"]
    head = ", ".join((*keys, *values))
    now = ", at = 'ASSERT'" if "at" in keys else ""
    return (
        f"{{ ?[{head}] := {unpack(columns, rows)}{now} :put {relation} {{{', '.join(keys)} => {', '.join(values)}}} }}"
    )


def script(blocks: Iterable[str]) -> str:
    """Blocks as one script, which is one transaction."""
    return "\n".join(blocks)
