"""Splits one file's text into pieces: a function, method, class, section, cell or statement each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath

from dobby_dagster.ingest.code.code_splitting import pieces_of
from dobby_dagster.ingest.code.languages import MARKDOWN, NOTEBOOKS, SQL, language_of
from dobby_dagster.ingest.documents.markdown_sections import sections_of
from dobby_dagster.ingest.documents.notebook_cells import cells_of
from dobby_dagster.ingest.documents.sql_statements import statements_of
from dobby_dagster.ingest.piece import Piece


def split(path: PurePath, text: str) -> list[Piece]:
    r"""The pieces of one file, with names made unique by ``#2``, ``#3``…; the whole file if it has no parts.

    White space alone gives no piece. Line ends become line feeds.

    Args:
        path: Its extension decides the language.
        text: Of the whole file.

    Raises:
        UnreadableError: The content does not fit the extension.

    >>> for piece in split(PurePath("a.py"), "class A:\n    def f(self):\n        return 1\n"):
    ...     print(piece.name, piece.kind, piece.line, repr(piece.content))
    A class 1 'class A:\n    def f(self):\n        ...'
    A.f method 2 'def f(self):\n    return 1'
    """
    text = _plain(text)
    return _unique(_pieces(path, text)) if text.strip() else []


def _pieces(path: PurePath, text: str) -> Iterable[Piece]:
    language = language_of(path, text)
    if language is not None:
        return list(pieces_of(language, text)) or whole(path, text)
    extension = path.suffix.lower()
    by_extension = ((MARKDOWN, sections_of), (NOTEBOOKS, cells_of), (SQL, statements_of))
    pieces = next((cut(text) for extensions, cut in by_extension if extension in extensions), [])
    if pieces or extension in NOTEBOOKS:
        return pieces
    return whole(path, text)


def whole(path: PurePath, text: str) -> list[Piece]:
    """The file as one piece."""
    language = language_of(path, text)
    return [Piece("", "file", language.name if language else "text", _plain(text).strip(), 1)]


def _plain(text: str) -> str:
    """``text`` without a byte order mark, its line ends as line feeds."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _unique(pieces: Iterable[Piece]) -> list[Piece]:
    numbers: dict[str, int] = {}
    taken: set[str] = set()
    return [replace(piece, name=_new_name(piece.name, numbers, taken)) for piece in pieces]


def _new_name(name: str, numbers: dict[str, int], taken: set[str]) -> str:
    while True:
        numbers[name] = number = numbers.get(name, 0) + 1
        new = name if number == 1 else f"{name}#{number}"
        if new not in taken:
            taken.add(new)
            return new
