"""Finds the files of a source tree that are read, and reads them as text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.ingest.git.working_tree import WorkingTree
from dobby_dagster.ingest.omission_reasons import why_not_file, why_not_folder
from dobby_dagster.ingest.regular_files import NotReadError, read_regular
from dobby_dagster.ingest.text_decoding import decoded

MAX_BYTES = 2_000_000
MAX_NOTEBOOK_BYTES = 20_000_000  # with its images, which are dropped


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read, or a file or folder that is left out.

    Attributes:
        path: Below the root, which may be relative.
        reason: Why it is left out; empty if it is read.
        transient: It may be readable next time.
    """

    path: Path
    reason: str = ""
    transient: bool = False


def files_of(root: Path, exclude: Sequence[str] = ()) -> Iterator[Path]:
    """The files below ``root`` that are read, in a fixed order; ``root`` itself if it is a file.

    Raises:
        SourceError: There is no such path, or it can't be read.
    """
    return (found.path for found in walk(root, exclude) if not found.reason)


def walk(root: Path, exclude: Sequence[str] = ()) -> Iterator[Found]:
    """Everything below ``root``: what is read, and what is left out with the reason.

    A file that git tracks is read. Else what ``.gitignore`` files ignore is left out, with or without a repository, and
    so are hidden files, environments, installed packages and build output. Submodules and nested clones are read by
    their own index and rules. Symbolic links are not followed. A file whose path below ``root`` matches one of the
    globs ``exclude`` is left out.

    Raises:
        SourceError: There is no such path, or it can't be read.
    """
    start = resolved(root)
    if not start.is_dir():
        yield Found(root)
        return
    stack = [(root, start, WorkingTree.around(start), "")]
    while stack:
        folder, real, tree, left_out = stack.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise _unreadable(root, error) from error
            yield Found(folder, os.strerror(error.errno or 0), transient=True)
            continue
        names = {entry.name for entry in entries}
        if ".git" in names and real != tree.top:
            tree, left_out = WorkingTree.at(real), ""
        tree = tree.inside(real)
        below = []
        for entry in entries:
            path, place = folder / entry.name, real / entry.name
            if entry.name == ".git":
                continue
            if not entry.is_dir(follow_symlinks=False):
                yield Found(path, why_not_file(entry, place, tree, left_out) or _excluded(path, root, exclude))
                continue
            reason = left_out or why_not_folder(entry, place, tree, names)
            if reason and not tree.holds_tracked(place):
                yield Found(path, reason)
            else:
                below.append((path, place, tree, reason))
        stack += reversed(below)


def resolved(root: Path) -> Path:
    """The real path of a file or folder.

    Raises:
        SourceError: It does not exist, is neither, or can't be read.
    """
    try:
        real = root.resolve(strict=True)
        if real.is_file() or real.is_dir():
            return real
    except FileNotFoundError as error:
        raise SourceError(f"there is no file or folder '{display(root)}'") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(root, error) from error
    raise SourceError(f"'{display(root)}' is neither a regular file nor a folder")


def _unreadable(root: Path, error: Exception) -> SourceError:
    reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return SourceError(f"'{display(root)}' can't be read: {reason}")


def text_of(path: Path) -> str:
    """The file's text.

    Raises:
        NotReadError: It can't be read, is too large, or is binary.
    """
    limit = MAX_NOTEBOOK_BYTES if path.suffix.lower() == ".ipynb" else MAX_BYTES
    text = decoded(path, read_regular(path, limit, follow=True))
    if text is None:
        raise NotReadError("binary")
    return text


def display(path: Path) -> str:
    r"""The path as valid Unicode: bytes that are not UTF-8 become escapes, as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _excluded(path: Path, root: Path, exclude: Sequence[str]) -> str:
    below = path.relative_to(root).as_posix()
    return "excluded" if any(fnmatch(below, pattern) for pattern in exclude) else ""
