"""Row keys of any type as text, and back.

Dobby's own relations speak of a record by a text key. A string is its own text, and so is a UUID; bytes are base64, a
whole number in a column of such is its digits. Anything else becomes ``json:`` and its JSON, and so does a string that
begins so. In an untyped column bytes are ``json:bytes:`` and base64.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.printable import shortened
from dobby_dagster.store.cozoscript.storable import LARGEST
from dobby_dagster.store.cozoscript.value_text import json_of

PREFIX = "json:"
BYTES = "json:bytes:"
SCAN = ""
# An integer that may be past 64 bits, which a parameter can't carry.
_LONG = re.compile(r"\d{19}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# How the value of a text key becomes one of the column's type, where it can be looked up; ``{}`` is the value.
_TYPED = {
    "String": "{}",
    "Int": "{}",
    "Bool": "{}",
    "Float": "to_float({})",
    "Uuid": "to_uuid({})",
    "Bytes": "decode_base64({})",
    "Json": "json({})",
}


def key_of(tag: str, text: str, column_type: str) -> str:
    """Dobby's text of the key that Cozo gave as ``tag`` and ``text``; see :mod:`dobby_dagster.store.cozoscript.value_text`.

    >>> key_of("bytes", "YWI=", "Bytes"), key_of("bytes", "YWI=", "Any"), key_of("json", '"x"', "Json")
    ('YWI=', 'json:bytes:YWI=', 'x')
    """
    if tag == "bytes":
        return text if column_type.removesuffix("?") == "Bytes" else BYTES + text
    try:
        return encode_key(json.loads(text) if tag == "json" else text, column_type)
    except (RecursionError, ValueError) as error:
        raise SourceError(
            f"a key of type {column_type} is nested too deeply or has too long a number: {shortened(text, 60)}",
            hint="give the rows keys of another type",
        ) from error


def encode_key(value: Any, column_type: str) -> str:
    """The text of a key that is not bytes."""
    if isinstance(value, str) and not value.startswith(PREFIX):
        return value
    if column_type.removesuffix("?") == "Int" and value is not None:
        return str(value)
    return PREFIX + json.dumps(value, ensure_ascii=False)


def decode_key(text: str, column_type: str) -> Any:
    """The value whose text is ``text``; of a UUID and of bytes their text.

    >>> decode_key(encode_key(7, "Any?"), "Any?"), decode_key(encode_key("json:x", "String"), "String")
    (7, 'json:x')
    """
    if text.startswith(BYTES):
        return text.removeprefix(BYTES)
    if text.startswith(PREFIX):
        return json.loads(text.removeprefix(PREFIX))
    return int(text) if column_type.removesuffix("?") == "Int" else text


def expressions(text: str, column_type: str) -> list[tuple[str, Any]]:
    """Expressions one of which is the key, each with the value for its ``{}``; SCAN where there is none.

    There are none at all where no row can have the key: an integer past 64 bits in a column of integers.
    """
    value, base = decode_key(text, column_type), column_type.removesuffix("?")
    if base == "Int" and _is_long(value):
        return []
    if isinstance(value, float) and not math.isfinite(value):
        return [(SCAN, value)]
    if value is None:
        return [("{}", None)] + [("json({})", None)] * (base in ("Json", "Any"))
    if base in ("Json", "Any") and text.startswith(PREFIX) and _LONG.search(text):
        as_number = base == "Any" and not _is_long(value)
        return [("parse_json({})", text.removeprefix(PREFIX)), *([("{}", value)] if as_number else [])]
    if base in _TYPED:
        return [(_TYPED[base], repr(value) if base == "Float" else value)]
    if base != "Any" or isinstance(value, list):
        return [(SCAN, value)]
    if text.startswith(BYTES):
        return [("decode_base64({})", value)]
    if isinstance(value, float):
        return [("to_float({})", repr(value)), ("json({})", value)]
    as_uuid = [("to_uuid({})", value)] * (isinstance(value, str) and bool(_UUID.fullmatch(value)))
    return [("{}", value), ("json({})", value), *as_uuid]


def wanted(keys: Iterable[str], column_type: str, stored: str) -> tuple[str, dict[str, list[Any]]]:
    """Rules that define ``wanted[k, key]``: each of ``keys`` with the value that it stands for; and their parameters.

    Args:
        keys: Dobby's texts.
        column_type: Of the key column.
        stored: An atom that binds ``k`` to each key that is stored: it is scanned for keys, lists most of all, that Cozo
            has no expression for.
    """
    groups: dict[str, list[Any]] = {"{}": []}
    for key in keys:
        for expression, value in expressions(key, column_type):
            groups.setdefault(expression, []).append([key, *scanned(value)] if expression == SCAN else [key, value])
    rules, parameters = [], {}
    for number, (expression, rows) in enumerate(groups.items()):
        name = f"keys{number}"
        parameters[name] = rows
        if expression == SCAN:
            # By min, though equal JSON is of equal keys: Cozo would look for each stored key's JSON on its own otherwise.
            rules.append(
                f"{name}[key, v, t] <- ${name}\n"
                f"asked[j, min(key)] := {name}[key, v, t], j = if(is_null(t), dump_json(json(v)), t)\n"
                f"wanted[k, key] := {stored}, j = {json_of('k')}, asked[j, key]"
            )
        else:
            rules.append(f"{name}[key, v] <- ${name}\nwanted[k, key] := {name}[key, v], k = {expression.format('v')}")
    return "\n".join(rules) + "\n", parameters


def scanned(value: Any) -> tuple[Any, str | None]:
    """A value as a parameter, or its text in Cozo's JSON where a parameter can't carry it."""
    infinite = isinstance(value, float) and not math.isfinite(value)
    if infinite or _is_long(value):
        return None, json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value, None


def _is_long(value: Any) -> bool:
    """Whether ``value`` is or has an integer past 64 bits."""
    if isinstance(value, list | dict):
        return any(map(_is_long, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST
