"""One file's text into records: a function, method, class or section each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from dobby_dagster.ingest.languages import MARKDOWN, Language, language_of


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file.

    Attributes:
        name: Qualified inside the file, as ``Class.method``; empty for the whole file.
        kind: ``function``, ``method``, ``class``, ``section``, or ``file``.
        line: Where it begins, from 1.
    """

    name: str
    kind: str
    language: str
    content: str
    line: int


def split(path: PurePath, text: str) -> list[Piece]:
    """The pieces of one file, names made unique with ``#2``, ``#3``…; the whole file where it has no parts.

    White space alone gives nothing.
    """
    if not text.strip():
        return []
    language = language_of(path, text)
    if language is not None:
        pieces = list(_code(language, text))
        if not pieces:
            pieces = [Piece("", "file", language.name, text.strip(), 1)]
    elif path.suffix.lower() in MARKDOWN:
        pieces = list(_sections(text))
    else:
        pieces = [Piece("", "file", "text", text.strip(), 1)]
    return _unique(pieces)


def _unique(pieces: list[Piece]) -> list[Piece]:
    seen: dict[str, int] = {}
    unique = []
    for piece in pieces:
        seen[piece.name] = count = seen.get(piece.name, 0) + 1
        name = piece.name if count == 1 else f"{piece.name}#{count}"
        unique.append(Piece(name, piece.kind, piece.language, piece.content, piece.line))
    return unique


@lru_cache(maxsize=16)
def _parser(name: str) -> Any:
    from tree_sitter_language_pack import get_parser

    return get_parser(name)


def _code(language: Language, text: str) -> Iterator[Piece]:
    data = text.encode("utf-8", "surrogatepass")
    root = _parser(language.name).parse(data).root_node
    stack: list[tuple[Any, tuple[str, ...], bool]] = [(root, (), False)]
    while stack:
        node, scope, in_class = stack.pop()
        inner, inside_class = scope, in_class
        if node.type in language.functions and _is_function(node):
            name = _name(node, data)
            if name:
                inner = (*scope, name)
                kind = "method" if in_class or node.type in ("method_declaration", "method_definition") else "function"
                yield Piece(".".join(inner), kind, language.name, _whole(node, name, data), _line(node))
            inside_class = False
        elif node.type in language.classes and _has_body(node):
            name = _name(node, data)
            if name:
                inner, inside_class = (*scope, name), True
                content = _outline(node, name, data, language)
                yield Piece(".".join(inner), "class", language.name, content, _line(node))
        elif node.type in language.scopes:
            name = _name(node, data)
            inner = (*scope, name) if name else scope
            inside_class = node.type == "impl_item"
        stack.extend((child, inner, inside_class) for child in reversed(node.named_children))


def _is_function(node: Any) -> bool:
    if node.type != "variable_declarator":
        return True
    value = node.child_by_field_name("value")
    return value is not None and value.type in ("arrow_function", "function_expression", "generator_function")


def _has_body(node: Any) -> bool:
    if node.type in ("struct_specifier", "class_specifier"):
        return node.child_by_field_name("body") is not None
    return True


def _name(node: Any, data: bytes) -> str:
    named = _named(node)
    if named is None:
        return ""
    name = data[named.start_byte : _end_of_name(named)].decode("utf-8", "replace")
    receiver = node.child_by_field_name("receiver")
    if receiver is not None:  # Go: func (r *Reader) Read
        words = data[receiver.start_byte : receiver.end_byte].decode("utf-8", "replace").strip("()").split()
        owner = words[-1].lstrip("*").split("[")[0] if words else ""
        name = f"{owner}.{name}" if owner else name
    return " ".join(name.split())


def _named(node: Any) -> Any:
    """The node that names ``node``: its name, what an ``impl`` is for, or what is innermost in a declarator of C."""
    named = node.child_by_field_name("name")
    if named is None and node.type == "impl_item":
        named = node.child_by_field_name("type")
    declarator = node.child_by_field_name("declarator")
    while named is None and declarator is not None:
        inner = None if declarator.type == "operator_cast" else declarator.child_by_field_name("declarator")
        if inner is None and declarator.type in ("reference_declarator", "parenthesized_declarator"):
            inner = next(iter(declarator.named_children), None)
        if inner is None:
            named = declarator
        declarator = inner
    return named


def _end_of_name(named: Any) -> int:
    """Where a name ends; C++'s ``operator bool() const`` does where its parameters begin."""
    if named.type != "operator_cast":
        return int(named.end_byte)
    end = named
    while (inner := end.child_by_field_name("declarator")) is not None:
        end = inner
    return int(end.start_byte)


def _outer(node: Any) -> Any:
    """The node with its decorators or the declaration around it."""
    parent = node.parent
    while parent is not None and parent.type in (
        "decorated_definition", "export_statement", "lexical_declaration", "variable_declaration", "type_declaration",
        "template_declaration",
    ):  # fmt: skip
        if parent.type in ("lexical_declaration", "variable_declaration") and parent.named_child_count > 1:
            break
        node, parent = parent, parent.parent
    return node


def _start(node: Any, name: str, data: bytes) -> int:
    """Where the comments and attributes right above the node begin, or the comment a blank line above that names it."""
    first = node
    while True:
        before = first.prev_sibling
        if before is None or not _belongs_above(before):
            return int(first.start_byte)
        gap = first.start_point[0] - before.end_point[0]
        if gap > 1 and not (gap == 2 and first is node and _is_of(before, name, data)):
            return int(first.start_byte)
        above = before.prev_sibling
        if above is not None and not _belongs_above(above) and above.end_point[0] == before.start_point[0]:
            return int(first.start_byte)  # a comment at the end of a line of code belongs to that line
        first = before


def _is_of(comment: Any, name: str, data: bytes) -> bool:
    """Whether a block comment begins with ``name``, as CUPS and Tcl write it: ``/* 'add()' - Add a job. */``."""
    text = data[comment.start_byte : comment.end_byte].decode("utf-8", "replace")
    last = re.split(r"::|\.", name)[-1]
    return re.match(rf"/\*[\s*'\"=_-]*{re.escape(last)}\b", text) is not None


def _belongs_above(node: Any) -> bool:
    return "comment" in node.type or node.type == "attribute_item"


def _whole(node: Any, name: str, data: bytes) -> str:
    outer = _outer(node)
    begin = _start(outer, name, data)
    return _dedent(data, begin, data[begin : outer.end_byte])


def _outline(node: Any, name: str, data: bytes, language: Language) -> str:
    """A class with the bodies of its functions left out."""
    outer = _outer(node)
    begin = _start(outer, name, data)
    holes = []
    stack = list(node.named_children)
    while stack:
        child = stack.pop()
        body = child.child_by_field_name("body") if child.type in language.functions else None
        if body is not None:
            holes.append((body.start_byte, body.end_byte))
        else:
            stack.extend(child.named_children)
    parts, at = [], begin
    for start, end in sorted(holes):
        parts += [data[at:start], language.elided.encode()]
        at = end
    parts.append(data[at : outer.end_byte])
    return _dedent(data, begin, b"".join(parts))


def _dedent(data: bytes, begin: int, part: bytes) -> str:
    line_start = data.rfind(b"\n", 0, begin) + 1
    indent = data[line_start:begin]
    text = part.decode("utf-8", "replace")
    if not indent.strip():
        text = indent.decode("utf-8", "replace") + text
    return textwrap.dedent(text).strip()


def _line(node: Any) -> int:
    return int(_outer(node).start_point[0]) + 1


def _sections(text: str) -> Iterator[Piece]:
    """Markdown by heading: each section without its subsections, named by the headings above it.

    By markdown-it, not by tree-sitter, whose Markdown grammar can crash the process on odd input.
    """
    from markdown_it import MarkdownIt

    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tokens = MarkdownIt().parse(text)
    begins: list[tuple[int, int, str]] = [(0, 0, "")]
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            begins.append((token.map[0], int(token.tag[1:]), " ".join(inline.content.split())))
    above: list[tuple[int, str]] = []
    for (line, level, name), (end, _, _) in zip(begins, [*begins[1:], (len(lines), 0, "")], strict=True):
        above = [(depth, title) for depth, title in above if depth < level]
        if name:
            above.append((level, name))
        content = "\n".join(lines[line:end]).strip()
        if content:
            yield Piece(" > ".join(title for _, title in above), "section", "markdown", content, line + 1)
