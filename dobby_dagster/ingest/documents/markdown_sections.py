"""Splits Markdown into sections."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from dobby_dagster.ingest.documents.front_matter import front_matter
from dobby_dagster.ingest.piece import Piece

MAX_NAME = 400


def sections_of(text: str) -> list[Piece]:
    r"""The sections of Markdown, each without its subsections, named by the headings above it.

    Front matter becomes the metadata of the first piece, and is in no content.

    >>> [(piece.name, piece.line) for piece in sections_of("# Guide\nHello.\n## Start\nRun it.")]
    [('Guide', 1), ('Guide > Start', 3)]
    """
    metadata, taken = front_matter(text)
    lines = text.split("\n")
    pieces = list(_sections([""] * taken + lines[taken:]))
    if not pieces:
        return [Piece("", "file", "markdown", text.strip(), 1, metadata)]
    first = pieces[0]
    return [Piece(first.name, first.kind, first.language, first.content, first.line, metadata), *pieces[1:]]


def _sections(lines: list[str]) -> Iterator[Piece]:
    """Uses markdown-it, since tree-sitter's Markdown grammar can crash on odd input."""
    begins = [(0, 0, ""), *_headings("\n".join(lines))]
    above: list[tuple[int, str]] = []
    for (line, level, name), (end, _, _) in zip(begins, [*begins[1:], (len(lines), 0, "")], strict=True):
        above = [(depth, title) for depth, title in above if depth < level]
        if name:
            above.append((level, name))
        content = "\n".join(lines[line:end]).strip()
        if content:
            yield Piece(" > ".join(title for _, title in above), "section", "markdown", content, line + 1)


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Line, level and text of each heading outside of lists and quotations."""
    from markdown_it import MarkdownIt

    for token, inline in pairwise(MarkdownIt().disable("inline").parse(text)):
        if token.type == "heading_open" and token.level == 0 and token.map:
            yield token.map[0], int(token.tag[1:]), " ".join(inline.content.split())[:MAX_NAME]
