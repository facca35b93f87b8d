"""Row keys of any type as text, and back.

Dobby's own relations speak of a record by a text key. A string is its own text. A number, a UUID or
anything else in an untyped column becomes ``json:`` and its JSON, and so does a string that begins so.
"""

from __future__ import annotations

import json
from typing import Any

PREFIX = "json:"


def encode_key(value: Any, column_type: str) -> str:
    """The text of one key."""
    if isinstance(value, str) and not value.startswith(PREFIX):
        return value
    if column_type == "Int":
        return str(value)
    return PREFIX + json.dumps(value, ensure_ascii=False)


def decode_key(text: str, column_type: str) -> Any:
    """The value whose text is ``text``; for a UUID its text, which the query converts.

    >>> decode_key(encode_key(7, "Any?"), "Any?"), decode_key(encode_key("json:x", "String"), "String")
    (7, 'json:x')
    """
    if text.startswith(PREFIX):
        return json.loads(text[len(PREFIX) :])
    return int(text) if column_type == "Int" else text
