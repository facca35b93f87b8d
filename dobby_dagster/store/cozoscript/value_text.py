"""Values of any type as text, made by Cozo itself.

What leaves the database as a text comes back as the same bytes, embedded or over HTTP, and so can be compared with what
is stored; a number that has been through JSON or Python can't. Each value has a tag:

``text``: a string, itself. ``uuid``: its 36 characters. ``bytes``: base64. ``json``: anything else as JSON; ``NaN``,
``Infinity`` and ``-Infinity`` are written as Python's :mod:`json` reads them.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from dobby_dagster.domain.records import Content, Structured, kind_of

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def tag_of(term: str) -> str:
    """An expression: the tag of ``term``."""
    return f"if(is_string({term}), 'text', if(is_uuid({term}), 'uuid', if(is_bytes({term}), 'bytes', 'json')))"


def text_of(term: str) -> str:
    """An expression: the text of ``term``."""
    as_text = f"is_string({term}) || is_uuid({term})"
    return f"if({as_text}, {term}, if(is_bytes({term}), encode_base64({term}), {json_of(term)}))"


def json_of(term: str) -> str:
    """An expression: ``term`` as JSON."""
    odd = f"if(is_nan({term}), 'NaN', if({term} > 0.0, 'Infinity', '-Infinity'))"
    dumped = f"dump_json(json({term}))"
    return f"if(is_float({term}), if(is_finite({term}), {dumped}, {odd}), {dumped})"


def text_only(term: str) -> str:
    """An expression: ``term`` if it is a string, else null.

    This and the following are for columns that are read without a tag: bytes and infinity would be strings over HTTP.
    """
    return f"if(is_string({term}), {term}, null)"


def finite_number(term: str) -> str:
    """An expression: ``term`` if it is a finite number, else null."""
    return f"if(is_num({term}), if(is_finite({term}), {term}, null), null)"


def clamped_number(term: str) -> str:
    """An expression: ``term`` if it is a number, infinity as a large one, else null."""
    clamped = f"if(is_nan({term}), null, max(-1e300, min(1e300, {term})))"
    return f"if(is_float({term}), {clamped}, {finite_number(term)})"


def text_or_number(term: str) -> str:
    """An expression: ``term`` if it is a string or a finite number, else null."""
    return f"if(is_string({term}), {term}, {finite_number(term)})"


def content_of(tag: str, text: str) -> Content:
    """The content whose tag and text Cozo gave."""
    if tag == "bytes":
        return base64.b64decode(text)
    if tag != "json":
        return text
    if text == "null":
        return None
    return str(json.loads(text)) if text.startswith('"') else Structured(text)


def plain(tag: str, text: str) -> Any:
    """A value for people and for JSON: bytes are base64, what is nested too deep stays text."""
    if tag != "json":
        return text
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return text


REMEMBERED = ("kind", "remembered", "may_be_uuid")


def remember(content: Content) -> list[Any]:
    """``content`` as parameters, named by REMEMBERED, for :func:`unchanged`."""
    kind = kind_of(content)
    if isinstance(content, bytes):
        return ["binary", base64.b64encode(content).decode(), False]
    return [kind, content, isinstance(content, str) and bool(_UUID.fullmatch(content))]


def unchanged(stored: str) -> str:
    """A condition: the column value ``stored`` still is what :func:`remember` was given."""
    as_text = (
        f"if(is_string({stored}), {stored} == remembered, if(is_uuid({stored}),"
        f" if(may_be_uuid, {stored} == to_uuid(remembered), false), {json_of(stored)} == dump_json(json(remembered))))"
    )
    as_json = f"{json_of(stored)} == if(is_string(remembered), remembered, dump_json(json(remembered)))"
    return (
        f"if(kind == 'binary', {stored} == decode_base64(remembered),"
        f" if(kind == 'structured', !is_string({stored}) && !is_bytes({stored}) && {as_json}, {as_text}))"
    )
