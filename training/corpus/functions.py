"""The documented parts of one file, split as Dobby itself splits files into records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from dobby_dagster.ingest.documentation.documented_code import (
    GENERATED,
    MIN_CODE_CHARACTERS,
    Parted,
    described,
    documented_code,
)
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.piece import Piece
from training.corpus.pair import Pair

MIN_SECTION_CHARACTERS = 200
MAX_FILE_CHARACTERS = 12_000_000


def pairs_of_file(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield a pair for each documented function, method, class and section of a file; none of a generated file."""
    for piece in _pieces(path, text):
        found = _pair(project, piece)
        if found is not None:
            yield found


def records_of_file(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield each function, method and class of a file as it stands, as the record that Dobby makes of it.

    Its ``code`` is the whole content, its ``summary`` the author's sentence, empty where there is none of use.
    """
    for piece in _pieces(path, text):
        if piece.kind not in ("section", "file") and len(piece.content) >= MIN_CODE_CHARACTERS:
            found = _pair(project, piece)
            summary = found.summary if found else ""
            yield Pair(project, _language(piece), piece.kind, piece.name, piece.content, "", 0, summary)


def _pieces(path: str, text: str) -> list[Piece]:
    if len(text) > MAX_FILE_CHARACTERS or GENERATED.search(text[:2_000]) or _minified(text):
        return []
    return split(PurePath(path), text)


def _language(piece: Piece) -> str:
    return "typescript" if piece.language == "tsx" else piece.language


def _pair(project: str, piece: Piece) -> Pair | None:
    if piece.kind == "section":
        parted = _section(piece)
        found = None if parted is None else described(parted, piece.name)
    elif piece.kind == "file":
        found = None
    else:
        found = documented_code(piece.content, piece.language, piece.name)
    if found is None:
        return None
    language = _language(piece)
    return Pair(project, language, piece.kind, piece.name, found.code, found.documentation, found.at, found.sentence)


def _section(piece: Piece) -> Parted | None:
    """Prose sums itself up: a section of several sentences, and the first of them."""
    body = re.sub(r"\A#+[^\n]*\n|\A[^\n]+\n[=-]{3,}\n", "", piece.content).strip()
    if len(body) < MIN_SECTION_CHARACTERS or not re.match(r"[A-Z`\[*]", body):
        return None
    return Parted(piece.content, "", 0, body)


def _minified(text: str) -> bool:
    return max((len(line) for line in text.splitlines()), default=0) > 2_000
