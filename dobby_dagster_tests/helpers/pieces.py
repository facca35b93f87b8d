"""A text that is split, by the names of its pieces."""

from pathlib import PurePath

from dobby_dagster.ingest.file_splitting import split


def kinds(file: str, text: str) -> list[tuple[str, str]]:
    return [(piece.name, piece.kind) for piece in split(PurePath(file), text)]


def contents(file: str, text: str) -> dict[str, str]:
    return {piece.name: piece.content for piece in split(PurePath(file), text)}
