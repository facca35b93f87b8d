"""What is measured on: functions of this Python's standard library, always the same ones."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.regular_files import NotReadError
from dobby_dagster.ingest.source_files import files_of, text_of

EXCLUDED = ("*test*", "idlelib/*", "__*__*")


def functions(count: int) -> list[str]:
    """``count`` functions and methods, a fixed sample of all."""
    return list(_functions()[:count])


@lru_cache(maxsize=1)
def _functions() -> list[str]:
    pieces = (piece for path, text in _texts() for piece in split(path, text))
    return sorted({piece.content for piece in pieces if piece.kind in ("function", "method")}, key=_order)


def documented(count: int) -> list[tuple[str, str]]:
    """``count`` functions and methods without their docstring, and its first sentence; a fixed sample as well."""
    from training.corpus.functions import pairs_of_file

    found: dict[str, str] = {}
    for path, text in _texts():
        for pair in pairs_of_file("stdlib", str(path), text):
            if pair.kind in ("function", "method"):
                found.setdefault(pair.code, pair.summary)
    return [(code, found[code]) for code in sorted(found, key=_order)[:count]]


def _texts() -> Iterator[tuple[Path, str]]:
    for path in files_of(Path(sysconfig.get_path("stdlib")), EXCLUDED):
        with suppress(NotReadError):
            yield path, text_of(path)


def _order(content: str) -> bytes:
    return hashlib.sha256(content.encode("utf-8", "replace")).digest()
