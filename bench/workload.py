"""What is measured on: functions of this Python's standard library, always the same ones."""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path

from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.source_files import files_of, read_text

EXCLUDED = ("*test*", "idlelib/*", "__*__*")


def functions(count: int) -> list[str]:
    """``count`` functions and methods, a fixed sample of all."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for path in files_of(root, EXCLUDED):
        text, _ = read_text(path)
        found += [piece.content for piece in split(path, text or "") if piece.kind in ("function", "method")]
    return sorted(set(found), key=_order)[:count]


def documented(count: int) -> list[tuple[str, str]]:
    """``count`` functions and methods without their docstring, and its first sentence; a fixed sample as well."""
    from training.corpus.functions import pairs_of_file

    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, str] = {}
    for path in files_of(root, EXCLUDED):
        text, _ = read_text(path)
        for pair in pairs_of_file("stdlib", str(path), text or ""):
            if pair.kind in ("function", "method"):
                found.setdefault(pair.code, pair.summary)
    return [(code, found[code]) for code in sorted(found, key=_order)[:count]]


def _order(content: str) -> bytes:
    return hashlib.sha256(content.encode("utf-8", "replace")).digest()
