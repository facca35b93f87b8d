"""Tests: the code of a test, and what its author says it tests."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import PurePath

from dobby_dagster.ingest.documentation.documented_code import without_comment
from dobby_dagster.ingest.file_splitting import split
from training.corpus.kinds.found import found
from training.corpus.pair import Pair

CASE = re.compile(r"^(?P<indent>[ \t]*)(?:it|test)\((['\"`])(?P<title>[^'\"`\n]{8,160})\2,", re.MULTILINE)
MOST_A_FILE = 150


def tests(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield each test of one file whose author said what it tests."""
    suffix = PurePath(path).suffix
    if len(text) > 800_000:
        return
    cases = _python(text) if suffix == ".py" else _comments(path, text) if suffix == ".go" else _titled(text)
    language = {".py": "python", ".go": "go", ".ts": "typescript"}.get(suffix, "javascript")
    for _, (name, code, plain, documentation, at) in zip(range(MOST_A_FILE), cases, strict=False):
        pair = found(project, language, "test", name, code, plain, documentation, at)
        if pair is not None:
            yield pair


def _python(text: str) -> Iterator[tuple[str, str, str, str, int]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = text.splitlines(keepends=True)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test"):
            continue
        plain = ast.get_docstring(node, clean=True)
        if not plain or len(node.body) < 2:
            continue
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        begin, end = node.body[0].lineno - 1, node.body[0].end_lineno or 0
        margin = " " * node.col_offset
        head, written, tail = (
            "".join(line.removeprefix(margin) for line in part)
            for part in (lines[first:begin], lines[begin:end], lines[end:last])
        )
        yield node.name, head + tail, plain, written, len(head)


def _comments(path: str, text: str) -> Iterator[tuple[str, str, str, str, int]]:
    for piece in split(PurePath(path), text):
        if piece.kind == "function" and piece.name.startswith("Test"):
            parts = without_comment(piece.content, piece.language)
            if parts is not None:
                yield piece.name, parts.code, parts.plain, parts.documentation, parts.at


def _titled(text: str) -> Iterator[tuple[str, str, str, str, int]]:
    """``it("closes the socket", …)``: the title is taken out and is what is said."""
    for match in CASE.finditer(text):
        end = text.find(f"\n{match['indent']}}}", match.end())
        if end < 0:
            continue
        block = textwrap.dedent(text[match.start() : end + len(match["indent"]) + 4])
        title = match["title"]
        place = block.find(title)
        plain = re.sub(r"^should (?:be able to )?", "Should ", title)
        yield "", block[:place] + block[place + len(title) :], plain, title, place
