"""Which files of a tree are read, and how."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.ingest.languages import is_known

MAX_BYTES = 2_000_000
SKIPPED_FOLDERS = {"__pycache__", "node_modules", "site-packages", "dist-packages", "target", "build", "dist"}


def files_of(root: Path, exclude: Sequence[str] = ()) -> Iterator[Path]:
    """Source, Markdown and text files below ``root`` in a fixed order; ``root`` itself where it is a file.

    Inside a git checkout, git says which files count, so that what is ignored stays out. Elsewhere hidden
    folders, environments and build folders are left out. Links are not followed. A file whose path below
    ``root`` matches one of the globs ``exclude`` is left out.

    Raises:
        SourceError: There is no such path.
    """
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        raise SourceError(f"there is no file or folder '{root}'")
    listed = _tracked(root)
    for path in sorted(listed) if listed is not None else _walk(root):
        below = path.relative_to(root).as_posix()
        if any(fnmatch(below, pattern) for pattern in exclude):
            continue
        if is_known(path) and path.is_file() and not path.is_symlink():
            yield path


def read_text(path: Path) -> tuple[str | None, str]:
    """The file's text, or None and the reason why it is left out."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None, f"larger than {MAX_BYTES:,} bytes"
        data = path.read_bytes()
    except OSError as error:
        return None, str(error.strerror)
    if b"\0" in data:
        return None, "binary"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return data.decode("latin-1"), ""


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".") and name not in SKIPPED_FOLDERS and not (here / name / "pyvenv.cfg").exists()
        )
        yield from (here / file for file in sorted(files) if not file.startswith("."))


def _tracked(root: Path) -> list[Path] | None:
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    names = [os.fsdecode(name) for name in answer.stdout.split(b"\0") if name]
    return [root / name for name in names] or None
