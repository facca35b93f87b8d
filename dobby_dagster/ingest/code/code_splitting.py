"""Splits source code into a piece for each function, method and class, by its syntax tree.

Time and memory are linear in the length of the text, however deeply it is nested: each letter is in a few pieces only.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dobby_dagster.ingest.code.declaration import MAX_NAME, Declaration
from dobby_dagster.ingest.code.declaration_nodes import declaration
from dobby_dagster.ingest.code.languages import Language
from dobby_dagster.ingest.code.placement import Place, place
from dobby_dagster.ingest.code.preprocessor import blank, readable
from dobby_dagster.ingest.code.reference_notes import OF_FILE, ReferenceNotes
from dobby_dagster.ingest.code.references import NOTHING
from dobby_dagster.ingest.code.stubs import is_overload, is_type_checking
from dobby_dagster.ingest.code.syntax_tree import parse, walk
from dobby_dagster.ingest.piece import Piece

# Python's grammar is quadratic in a run of comments, so it gets only the last few hundred of a run.
_COMMENTS = re.compile(rb"((?:^[ \t]*#[^\n]*\n){200,}?)((?:^[ \t]*#[^\n]*\n){200})(?![ \t]*#)", re.MULTILINE)
MAX_NESTED = 3  # levels of nested functions and classes that a piece includes whole


@dataclass(slots=True)
class _Part:
    """A function or class of the text.

    Attributes:
        name: Qualified.
        place: Where it is in the text, with its comments.
        body: Begin and end of its body, in bytes; None if it has none.
        parts: Indices of the functions and classes directly in it.
    """

    name: str
    kind: str
    place: Place
    body: tuple[int, int] | None
    parts: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What encloses a node.

    Attributes:
        name: The qualified name of the enclosing declaration.
        in_class: Whether functions in it are methods.
        in_function: Whether it is in a function.
        part: The index of the enclosing part; -1 for none.
        stub: Whether only a type checker reads what is in it.
    """

    name: str = ""
    in_class: bool = False
    in_function: bool = False
    part: int = -1
    stub: bool = False


def pieces_of(language: Language, text: str) -> Iterator[Piece]:
    """The functions, methods and classes of ``text``; all of it if there are none.

    That is so too if parsing takes many times the steps of ordinary code.
    """
    data = text.encode("utf-8", "surrogatepass")
    shown, removed = _shown(language, data)
    tree = parse(language.grammar or language.name, shown)
    notes = ReferenceNotes(language.name, data)
    parts = _parts(language, data, tree, removed, notes) if tree is not None else []
    of_file = notes.of(OF_FILE)
    if not parts:
        yield Piece("", "file", language.name, text.strip(), 1, of_file=of_file)
    for number, part in enumerate(parts):
        content = _content(part.place, data, _holes(parts, number), language.elided)
        if content:
            row = part.place.row + 1
            yield Piece(part.name, part.kind, language.name, content, row, {}, notes.of(number), of_file)
            of_file = NOTHING


def _shown(language: Language, data: bytes) -> tuple[bytes, frozenset[int]]:
    """The text for the grammar, of the same length as ``data``, and the rows of the directives removed from it."""
    if language.name in ("c", "cpp"):
        return readable(data)
    if language.name == "python":
        return _COMMENTS.sub(lambda run: blank(run[1]) + run[2], data), frozenset()
    return data, frozenset()


def _parts(language: Language, data: bytes, tree: Any, removed: frozenset[int], notes: ReferenceNotes) -> list[_Part]:
    parts: list[_Part] = []
    scopes = [_Scope()]
    for path in walk(tree):
        del scopes[len(path) :]
        scope = scopes[-1]
        found = declaration(language, path, data, in_function=scope.in_function)
        if is_type_checking(language.name, path, data):
            scope = replace(scope, stub=True)
        if found is not None:
            scope = _enter(found, scope, len(parts))
            if found.kind != "scope":
                kind = "method" if found.kind == "function" and (found.method or scopes[-1].in_class) else found.kind
                body = (found.body.start_byte, found.body.end_byte) if found.body is not None else None
                if scopes[-1].part >= 0:
                    parts[scopes[-1].part].parts.append(len(parts))
                stub = scope.stub or is_overload(language.name, path, data)
                notes.enter(path[-1].node, scopes[-1].part, is_class=found.kind == "class", stub=stub)
                parts.append(_Part(scope.name, kind, place(language, path, found.name, data, removed), body))
        scopes.append(scope)
        notes.add(path[-1].node, scope.part, declares=found is not None)
    return parts


def _enter(found: Declaration, scope: _Scope, number: int) -> _Scope:
    name = qualified(scope.name, found.name)
    if found.kind == "scope":
        return _Scope(name, found.method, scope.in_function, scope.part, scope.stub)
    is_class = found.kind == "class"
    return _Scope(name, is_class, scope.in_function or not is_class, number, scope.stub)


def qualified(scope: str, name: str) -> str:
    """``scope.name``, its middle left out beyond ``MAX_NAME`` characters.

    >>> qualified("Table", "find"), qualified("", "find")
    ('Table.find', 'find')
    """
    full = ".".join(filter(None, (scope, name)))
    return full if len(full) <= MAX_NAME else f"{full[: MAX_NAME // 2]}…{full[-MAX_NAME // 2 :]}"


def _holes(parts: Sequence[_Part], number: int) -> list[tuple[int, int]]:
    """The bodies that a piece leaves out: of a class's functions, and of deeply nested pieces."""
    outline = parts[number].kind == "class"
    holes = []
    stack = [(inner, 1) for inner in parts[number].parts]
    while stack:
        inner, depth = stack.pop()
        part = parts[inner]
        if part.body is not None and ((outline and part.kind != "class") or depth > MAX_NESTED):
            holes.append(part.body)
        else:
            stack += [(below, depth + 1) for below in part.parts]
    return sorted(holes)


def _content(where: Place, data: bytes, holes: Sequence[tuple[int, int]], elided: str) -> str:
    kept, at = [where.lead], where.own
    for start, end in holes:
        if start >= at:
            kept += [data[at:start], elided.encode()]
            at = end
    kept.append(data[at : where.end])
    above = [_dedented(data, begin, data[begin:end]) for begin, end in where.above]
    return "\n".join([*above, _dedented(data, where.begin, data[where.begin : where.own] + b"".join(kept))])


def _dedented(data: bytes, begin: int, part: bytes) -> str:
    indent = data[data.rfind(b"\n", 0, begin) + 1 : begin]
    text = part.decode("utf-8", "replace")
    if not indent.strip():
        text = indent.decode("utf-8", "replace") + text
    return textwrap.dedent(text).strip()
