r"""Parameters of a script, checked, and in a form that JSON carries without a change.

JSON has no bytes and no NaN; Cozo reads an integer past 64 bits in it as a float, and about one in eight fractions of 16
or 17 digits as the adjacent number. So what JSON would change is sent as text, and the script converts it:

>>> carried("?[x, y] <- $rows", {"rows": [["a", 1], [b"\xff", 2]]})
('?[x, y] <- [$carried_0, [decode_base64($carried_1), $carried_2]]', {'carried_0': ['a', 1], 'carried_1': '/w==', 'carried_2': 2})

Results need no such scheme: a value whose column does not say what it is leaves the database as a tag and a text, see
:mod:`dobby_dagster.store.cozoscript.value_text`.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any

from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.printable import shortened
from dobby_dagster.store.cozoscript.storable import LARGEST

# Levels in one value. Cozo's server reads at most 127, of which the request itself takes some.
DEEPEST = 100
_NAME = re.compile(r"\$(\w+)")
# Such a decimal is read as the nearest float by every JSON library: its digits are a whole number below 2**53, and its
# power of ten is exact (Clinger, How to read floating point numbers accurately, 1990).
_EXACT_DIGITS = 15
_EXACT_RANGE = (1e-4, 1e14)


def check_parameters(params: Mapping[str, Any], *, write: bool) -> None:
    """Check that CozoDB takes ``params`` unchanged.

    Args:
        params: By name.
        write: They may be stored. A query may have an integer past 64 bits: it equals nothing that is stored.

    Raises:
        StoreError: One has a value that would be changed, or refused, without its name; the message has both.
    """
    for name, value in params.items():
        left = [(value, False)]  # no recursion: a value may have thousands of levels
        while left:
            inner, in_json = left.pop()
            left += _checked(name, inner, write, in_json)


def carried(script: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """``script`` and ``params``, already checked, as they are sent.

    Raises:
        StoreError: A value is nested more than ``DEEPEST`` levels deep.
    """
    sent: dict[str, Any] = {}
    expressions: dict[str, str] = {}
    for name, value in params.items():
        if _is_carried(name, value, DEEPEST):
            sent[name] = value
        else:
            expressions[name] = _expression(name, value, sent)
    if expressions:
        script = _NAME.sub(lambda found: expressions.get(found[1], found[0]), script)
    return script, sent


def _checked(name: str, value: Any, write: bool, in_json: bool) -> list[tuple[Any, bool]]:
    """Check one value; return those inside of it, each with whether it is in a JSON object."""
    if isinstance(value, str):
        _check_text(name, value)
    elif isinstance(value, list | tuple):
        return [(inner, in_json) for inner in value]
    elif isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _refused(name, key, "is a key, and no text")
            _check_text(name, key)
        return [(inner, True) for inner in value.values()]
    elif why := _objection(value, write, in_json):
        raise _refused(name, value, why)
    return []


def _objection(value: Any, write: bool, in_json: bool) -> str:
    """Why ``value``, neither a text nor a collection, can't be stored; empty if it can."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "is past 64 bits" if write and not -LARGEST - 1 <= value <= LARGEST else ""
    if isinstance(value, float):
        return "is no JSON number" if in_json and not math.isfinite(value) else ""
    if isinstance(value, bytes | bytearray):
        return "is bytes, which JSON has not" if in_json else ""
    return f"is of type {type(value).__name__}"


def _check_text(name: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(name, text, "has a lone surrogate") from None


def _refused(name: str, value: Any, why: str) -> StoreError:
    return StoreError(f"{shortened(repr(value), 80)} in '{name}' can't be stored: it {why}")


def _is_carried(name: str, value: Any, levels: int) -> bool:
    """Whether ``value`` is the same after JSON."""
    if isinstance(value, float):
        return _is_exact(value)
    if isinstance(value, bytes | bytearray):
        return False
    if not isinstance(value, list | tuple | Mapping):
        return True
    if not levels:
        raise StoreError(f"a value in '{name}' can't be sent: it is nested more than {DEEPEST} levels deep")
    inside = value.values() if isinstance(value, Mapping) else value
    carried_whole = True
    for inner in inside:  # all of them, for their depth
        carried_whole = _is_carried(name, inner, levels - 1) and carried_whole
    return carried_whole


def _is_exact(value: float) -> bool:
    if value == 0:
        return True
    if not _EXACT_RANGE[0] <= abs(value) < _EXACT_RANGE[1]:
        return False
    return sum(map(str.isdigit, repr(value))) <= _EXACT_DIGITS


def _expression(name: str, value: Any, sent: dict[str, Any]) -> str:
    """An expression for ``value`` over parameters that are added to ``sent``."""
    carried_whole = _is_carried(name, value, DEEPEST)
    if isinstance(value, list | tuple) and not carried_whole:
        return f"[{', '.join([_expression(name, inner, sent) for inner in value])}]"
    if isinstance(value, Mapping) and not carried_whole:
        parts = [_expression(name, part, sent) for pair in value.items() for part in pair]
        return f"json_object({', '.join(parts)})"
    place = f"carried_{len(sent)}"
    if carried_whole:
        sent[place] = value
        return f"${place}"
    if isinstance(value, bytes | bytearray):
        sent[place] = base64.b64encode(value).decode()
        return f"decode_base64(${place})"
    sent[place] = _cozo_float(value)
    return f"to_float(${place})"


def _cozo_float(value: float) -> str:
    """As Cozo's ``to_float`` reads it."""
    if math.isfinite(value):
        return repr(value)
    return "NAN" if math.isnan(value) else "INF" if value > 0 else "NEG_INF"
