"""What is measured on: functions of this Python's standard library, always the same ones."""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path

from dobby_dagster.ingest.files import files_of, read_text
from dobby_dagster.ingest.split import split

EXCLUDED = ("*test*", "idlelib/*", "__*__*")


def functions(count: int) -> list[str]:
    """``count`` functions and methods, a fixed sample of all."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for path in files_of(root, EXCLUDED):
        text, _ = read_text(path)
        found += [piece.content for piece in split(path, text or "") if piece.kind in ("function", "method")]
    unique = sorted(set(found), key=lambda content: hashlib.sha256(content.encode("utf-8", "replace")).digest())
    return unique[:count]
