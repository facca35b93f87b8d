"""Where a declaration begins and ends in the text, with the comments and attributes that belong to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dobby_dagster.ingest.code.languages import Language
from dobby_dagster.ingest.code.syntax_tree import Level, is_comment

_CONDITIONALS = ("preproc_if", "preproc_ifdef", "preproc_else", "preproc_elif", "preproc_elifdef")
_LISTS = ("lexical_declaration", "variable_declaration", "type_declaration", "argument_list")
_DECLARATORS = ("declaration", "field_declaration")  # C's `static struct options { … } defaults;`
_FEW = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A declaration's place, in bytes.

    Attributes:
        begin: Of the comments right above it.
        own: Of what is its own: a decorator, a modifier.
        lead: What is written before that.
        row: In which it begins, from 0.
        above: Comments that stand apart: above the ``#if`` that it is in.
    """

    begin: int
    own: int
    end: int
    row: int
    lead: bytes = b""
    above: tuple[tuple[int, int], ...] = ()


def place(language: Language, way: Sequence[Level], name: str, data: bytes, gone: frozenset[int]) -> Place:
    """The place of the last node of ``way``, which declares ``name``; the grammar did not see the rows ``gone``."""
    whole = _whole(language, way)
    node = way[whole].node
    top = _first_of_its_line(way, whole)
    row, begin = _above_directives(way[top].node, data, gone)
    comments = _belonging(way[top], row, name, data)
    lead = b"type " if node.type in ("type_spec", "type_alias") else b""  # in a group of them
    above: tuple[tuple[int, int], ...] = ()
    if comments:
        begin = comments[0].start_byte
    elif whole and (outside := _of_conditional(way, top, data)):
        above = ((outside[0].start_byte, outside[-1].end_byte),)
    return Place(begin, int(node.start_byte), int(node.end_byte), int(node.start_point[0]), lead, above)


def _whole(language: Language, way: Sequence[Level]) -> int:
    """Which node of ``way`` holds the declaration with its decorators, modifiers and keywords."""
    at = len(way) - 1
    while at > 0 and way[at - 1].node.type in language.around:
        around = way[at - 1].node
        if around.type in _LISTS and not _is_alone(around):
            break
        at -= 1
    if at == len(way) - 1 and at and way[at - 1].node.type == "type_definition":
        at -= 1
    return at


def _is_alone(around: Any) -> bool:
    count = around.named_child_count
    return count == 1 or (count < _FEW and sum(not is_comment(child) for child in around.named_children) == 1)


def _first_of_its_line(way: Sequence[Level], at: int) -> int:
    """The outermost node that begins with the declaration: comments above that one are above the declaration."""
    while at > 1:
        around = way[at - 1].node
        begins_with = way[at].before < 0 and not way[at].above and around.start_byte == way[at].node.start_byte
        if not begins_with and around.type not in _DECLARATORS:
            break
        at -= 1
    return at


def _above_directives(node: Any, data: bytes, gone: frozenset[int]) -> tuple[int, int]:
    """The row and the offset where ``node`` begins, or the lines of directives right above it that were taken out."""
    row, begin = int(node.start_point[0]), int(node.start_byte)
    while row - 1 in gone:
        row -= 1
        begin = data.rfind(b"\n", 0, data.rfind(b"\n", 0, begin)) + 1
    return row, begin


def _belonging(level: Level, row: int, name: str, data: bytes) -> list[Any]:
    """The comments and attributes right above ``row``, or the comment a blank line above that begins with the name."""
    above = level.above
    first = len(above)
    while first > 0:
        comment = above[first - 1]
        gap = row - comment.end_point[0]
        if gap > 1 and not (gap == 2 and first == len(above) and _is_of(comment, name, data)):
            break
        if first == 1 and comment.start_point[0] == level.before:
            break  # a comment at the end of a line of code belongs to that line
        first -= 1
        row = comment.start_point[0]
    return above[first:]


def _is_of(comment: Any, name: str, data: bytes) -> bool:
    """Whether a block comment begins with ``name``, as CUPS and Tcl write it: ``/* 'add()' - Add a job. */``."""
    last = re.split(r"::|\.", name)[-1]
    text = data[comment.start_byte : min(comment.end_byte, comment.start_byte + 1_000)].decode("utf-8", "replace")
    return re.match(rf"/\*[\s*'\"=_-]*{re.escape(last)}\b", text) is not None


def _of_conditional(way: Sequence[Level], at: int, data: bytes) -> list[Any]:
    """The comments right above the ``#if`` whose branches hold one declaration each, this one among them."""
    while at > 0 and way[at - 1].node.type in _CONDITIONALS and _is_only_one(way[at - 1].node):
        at -= 1
        if way[at].node.type in ("preproc_if", "preproc_ifdef"):
            return _belonging(way[at], int(way[at].node.start_point[0]), "", data)
    return []


def _is_only_one(conditional: Any) -> bool:
    if conditional.named_child_count > _FEW:
        return False
    fields = ("name", "condition", "alternative")
    skipped = {child.id for field in fields for child in conditional.children_by_field_name(field)}
    return sum(not is_comment(child) and child.id not in skipped for child in conditional.named_children) == 1
