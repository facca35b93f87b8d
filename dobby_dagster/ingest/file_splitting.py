"""One file's text into records: a function, method, class, section, cell or statement each."""

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

__all__ = ["Piece", "split"]


def split(path: PurePath, text: str) -> list[Piece]:
    """The pieces of one file, names made unique with ``#2``, ``#3``…; the whole file where it has no parts.

    White space alone gives nothing. Line ends are read as line feeds.

    Raises:
        UnreadableError: The file is not what its name says.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return _unique(_pieces(path, text)) if text.strip() else []


def _pieces(path: PurePath, text: str) -> Iterable[Piece]:
    language = language_of(path, text)
    if language is not None:
        return [piece for piece in pieces_of(language, text) if piece.content] or whole(path, text)
    ending = path.suffix.lower()
    by_ending = ((MARKDOWN, sections_of), (NOTEBOOKS, cells_of), (SQL, statements_of))
    pieces = next((cut(text) for endings, cut in by_ending if ending in endings), [])
    if pieces or ending in NOTEBOOKS:
        return pieces
    return whole(path, text)


def whole(path: PurePath, text: str) -> list[Piece]:
    """The file as one piece."""
    language = language_of(path, text)
    return [Piece("", "file", language.name if language else "text", text.strip(), 1)]


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
