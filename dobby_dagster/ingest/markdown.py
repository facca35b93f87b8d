"""Markdown into sections, and its front matter into metadata."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from dobby_dagster.ingest.piece import Piece


def sections_of(text: str) -> Iterator[Piece]:
    """Markdown by heading: each section without its subsections, named by the headings above it.

    By markdown-it, not by tree-sitter, whose Markdown grammar can crash the process on odd input.
    """
    from markdown_it import MarkdownIt

    lines = text.split("\n")
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
