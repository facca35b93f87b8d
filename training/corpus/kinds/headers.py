"""Files of other languages: an outline of their parts, and what the comment at their head says of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from dobby_dagster.ingest.documentation.documented_code import (
    ATTRIBUTE,
    BLOCK_COMMENT,
    GENERATED,
    LINE_COMMENT,
    text_of_comment,
)
from dobby_dagster.ingest.documentation.first_sentence import first_sentence
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.piece import Piece
from training.corpus.kinds.found import capital, found
from training.corpus.pair import Pair

HEAD = re.compile(r"\A(?:\s*(?://[^\n]*\n|/\*.*?\*/|[\"']use strict[\"'];?))+", re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/|(?:^[ \t]*//[^\n]*\n)+", re.DOTALL | re.MULTILINE)
GO = re.compile(r"((?:^//[^\n]*\n)+|/\*(?:(?!\*/).)*\*/\n)package +(\w+)", re.DOTALL | re.MULTILINE)
RUST = re.compile(r"(?:^//![^\n]*\n)+", re.MULTILINE)
FILE_TAG = re.compile(r"@(?:fileoverview|file|module|packageDocumentation|overview)\b[ \t]*")
# What stands before a description: the file's own name.
FILE_NAME = re.compile(r"\A\W*[\w./-]+\.(?:c|h|cc|cpp|hpp|js|ts|go|rs|java)\b[ \t]*(?:[-:]+|\n)\s*", re.IGNORECASE)
MOST_LINES = 60
MOST_CHARACTERS = 120


def headed(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield the file with what its head comment says, where it says something."""
    if len(text) > 400_000 or GENERATED.search(text[:2_000]):
        return
    suffix = PurePath(path).suffix
    described = _go(text) if suffix == ".go" else _rust(text) if suffix == ".rs" else _head(text, PurePath(path).name)
    for documentation, plain, name in described:
        if first_sentence(capital(plain.strip()), name) is None:
            continue
        pieces = split(PurePath(path), text)
        content = "\n".join(line for line in map(signature, pieces[:MOST_LINES]) if line)
        language = "typescript" if pieces[0].language == "tsx" else pieces[0].language
        pair = found(project, language, "module", name, content, plain, documentation, 0)
        if pair is not None:
            yield pair
            return


def signature(piece: Piece) -> str:
    """The first line of a piece that is no comment, up to where its body begins."""
    rest = piece.content
    while match := LINE_COMMENT.match(rest) or BLOCK_COMMENT.match(rest) or ATTRIBUTE.match(rest):
        rest = rest[match.end() :].lstrip("\n")
    line = " ".join(re.split(r"\{|;\s*\n|=>", rest, maxsplit=1)[0].split())[:MOST_CHARACTERS]
    return "" if piece.kind == "file" else f"    {line}" if piece.kind == "method" else line


def _go(text: str) -> Iterator[tuple[str, str, str]]:
    for match in GO.finditer(text[:20_000]):
        plain = re.sub(r"\A\s*(?:Package|Command)\s+\S+\s+", "", text_of_comment(match[1]))
        yield match[1], plain, match[2]


def _rust(text: str) -> Iterator[tuple[str, str, str]]:
    for match in RUST.finditer(text[:3_000]):
        plain = re.sub(r"\A#+[^\n]*\n+", "", text_of_comment(match[0]))
        yield match[0], plain, ""


def _head(text: str, file_name: str) -> Iterator[tuple[str, str, str]]:
    """The comments before the first code: one with a tag of a file, or one that is not joined to what it precedes."""
    head = HEAD.match(text)
    for match in COMMENT.finditer(head[0] if head else ""):
        tagged = FILE_TAG.search(match[0])
        plain = text_of_comment(match[0])
        if tagged:
            plain = FILE_TAG.split(plain, maxsplit=1)[-1]
        elif not re.match(
            r"[ \t]*\n[ \t]*\n|\s*(?:#\s*(?:include|ifndef|pragma|if)|import\b|using\b|package\b)", text[match.end() :]
        ):
            continue
        plain = re.sub(r"\A\s*[\w./-]+\s+-+\s+(?=[A-Za-z])", "", FILE_NAME.sub("", plain))
        if not re.search(
            r"^import |\bby [A-Z][a-z]+ [A-Z]|copyright|licen[cs]e|\(c\)|author|redistribut|-\*-|vim?:",
            plain[:300],
            re.IGNORECASE,
        ):
            yield match[0].strip() + "\n", plain, PurePath(file_name).stem
