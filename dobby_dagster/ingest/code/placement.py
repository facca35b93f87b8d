"""Locates a declaration in the text, with the comments and attributes that belong to it."""

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
    """Where a declaration is, in bytes.

    Attributes:
        begin: Where the comments directly above it begin.
        own: Where it begins itself, with its decorators and modifiers.
        end: Where it ends.
        row: The row of ``own``, from 0.
        lead: Text to insert at ``own``.
        above: Begin and end of comments further up: above the ``#if`` that it is in.
    """

    begin: int
    own: int
    end: int
    row: int
    lead: bytes = b""
    above: tuple[tuple[int, int], ...] = ()


def place(language: Language, path: Sequence[Level], name: str, data: bytes, removed: frozenset[int]) -> Place:
    """The place of the last node of ``path``, which declares ``name``; the grammar did not see the rows ``removed``."""
    whole = _whole(language, path)
    node = path[whole].node
    top = _first_of_its_line(path, whole)
    row, begin = _above_directives(path[top].node, data, removed)
    comments = _belonging(path[top], row, name, data)
    lead = b"type " if node.type in ("type_spec", "type_alias") else b""  # of a group
    above: tuple[tuple[int, int], ...] = ()
    if comments:
        begin = comments[0].start_byte
    elif whole and (outside := _of_conditional(path, top, data)):
        above = ((outside[0].start_byte, outside[-1].end_byte),)
    return Place(begin, int(node.start_byte), int(node.end_byte), int(node.start_point[0]), lead, above)


def _whole(language: Language, path: Sequence[Level]) -> int:
    """The index in ``path`` of the declaration with its decorators, modifiers and keywords."""
    at = len(path) - 1
    while at > 0 and path[at - 1].node.type in language.around:
        around = path[at - 1].node
        if around.type in _LISTS and not _is_alone(around):
            break
        at -= 1
    if at == len(path) - 1 and at and path[at - 1].node.type == "type_definition":
        at -= 1
    return at


def _is_alone(around: Any) -> bool:
    count = around.named_child_count
    return count == 1 or (count < _FEW and sum(not is_comment(child) for child in around.named_children) == 1)


def _first_of_its_line(path: Sequence[Level], at: int) -> int:
    """The index of the outermost node that begins with the declaration: comments above it belong to the declaration."""
    while at > 1:
        around = path[at - 1].node
        begins_with = path[at].before < 0 and not path[at].above and around.start_byte == path[at].node.start_byte
        if not begins_with and around.type not in _DECLARATORS:
            break
        at -= 1
    return at


def _above_directives(node: Any, data: bytes, removed: frozenset[int]) -> tuple[int, int]:
    """The row and offset where ``node`` begins, or where the removed directives directly above it begin."""
    row, begin = int(node.start_point[0]), int(node.start_byte)
    while row - 1 in removed:
        row -= 1
        begin = data.rfind(b"\n", 0, data.rfind(b"\n", 0, begin)) + 1
    return row, begin


def _belonging(level: Level, row: int, name: str, data: bytes) -> list[Any]:
    """The comments and attributes directly above ``row``, or one above a blank line that begins with the name."""
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


def _of_conditional(path: Sequence[Level], at: int, data: bytes) -> list[Any]:
    """The comments directly above the ``#if`` whose branches have one declaration each, this one among them."""
    while at > 0 and path[at - 1].node.type in _CONDITIONALS and _is_only_one(path[at - 1].node):
        at -= 1
        if path[at].node.type in ("preproc_if", "preproc_ifdef"):
            return _belonging(path[at], int(path[at].node.start_point[0]), "", data)
    return []


def _is_only_one(conditional: Any) -> bool:
    if conditional.named_child_count > _FEW:
        return False
    fields = ("name", "condition", "alternative")
    skipped = {child.id for field in fields for child in conditional.children_by_field_name(field)}
    return sum(not is_comment(child) and child.id not in skipped for child in conditional.named_children) == 1
