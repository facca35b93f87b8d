"""Which files of a tree are read, and why the others are not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.ingest.code.languages import is_known
from dobby_dagster.ingest.git.working_tree import WorkingTree
from dobby_dagster.ingest.regular_files import NotReadError, read_regular
from dobby_dagster.ingest.text_decoding import decoded

MAX_BYTES = 2_000_000
MAX_NOTEBOOK_BYTES = 20_000_000  # with its pictures, which are dropped
_PYTHON = {"setup.py", "pyproject.toml"}
_PACKAGES = {
    "node_modules": "packages of npm",
    "site-packages": "packages of Python",
    "dist-packages": "packages of Python",
    "__pycache__": "compiled Python",
}
# A folder of this name is what a tool built where that tool's file lies beside it; else it is a folder like any other.
_BUILT_BY = {
    "build": _PYTHON | {"build.gradle", "build.gradle.kts", "CMakeLists.txt", "meson.build", "package.json"},
    "dist": _PYTHON | {"package.json"},
    "target": {"Cargo.toml", "pom.xml", "build.sbt"},
}


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a file or folder that is left out.

    Attributes:
        reason: Why it is left out; empty where it is read.
        passing: It may be readable the next time.
    """

    path: Path
    reason: str = ""
    passing: bool = False


def files_of(root: Path, exclude: Sequence[str] = ()) -> Iterator[Path]:
    """The files below ``root`` that are read, in a fixed order; ``root`` itself where it is a file.

    Raises:
        SourceError: There is no such path.
    """
    return (found.path for found in walk(root, exclude) if not found.reason)


def walk(root: Path, exclude: Sequence[str] = ()) -> Iterator[Found]:
    """Everything below ``root``: what is read, and what is left out with the reason.

    A file that git tracks is read. Else what ``.gitignore`` files ignore is left out, whether there is a repository or
    not, and so are hidden files, environments, packages of others and what was built. Submodules and clones inside are
    folders like any other, with their own index and rules. Links are not followed. A file whose path below ``root``
    matches one of the globs ``exclude`` is left out.

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
            yield Found(folder, os.strerror(error.errno or 0), passing=True)
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
                yield Found(path, _why_not_file(entry, place, tree, left_out) or _excluded(path, root, exclude))
                continue
            reason = left_out or _why_not_folder(entry, place, tree, names)
            if reason and not tree.holds_tracked(place):
                yield Found(path, reason)
            else:
                below.append((path, place, tree, reason))
        stack += reversed(below)


def resolved(root: Path) -> Path:
    """The real path of a file or folder.

    Raises:
        SourceError: There is none, or it can't be read.
    """
    try:
        real = root.resolve(strict=True)
        if real.is_file() or real.is_dir():
            return real
    except FileNotFoundError as error:
        raise SourceError(f"there is no file or folder '{display(root)}'") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(root, error) from error
    raise SourceError(f"'{display(root)}' is no regular file and no folder")


def _unreadable(root: Path, error: Exception) -> SourceError:
    reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return SourceError(f"'{display(root)}' can't be read: {reason}")


def read_text(path: Path) -> tuple[str | None, str]:
    """The file's text, or None and the reason why it is left out."""
    try:
        return text_of(path), ""
    except NotReadError as error:
        return None, str(error)


def text_of(path: Path) -> str:
    """The file's text.

    Raises:
        NotReadError: It can't be read, is too large, or is no text.
    """
    limit = MAX_NOTEBOOK_BYTES if path.suffix.lower() == ".ipynb" else MAX_BYTES
    text = decoded(path, read_regular(path, limit, follow=True))
    if text is None:
        raise NotReadError("binary")
    return text


def display(path: Path) -> str:
    r"""The path as text that any database and screen takes: bytes that are no UTF-8 as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _why_not_file(entry: os.DirEntry[str], place: Path, tree: WorkingTree, left_out: str) -> str:
    if entry.is_symlink():
        return "a symbolic link"
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    if not is_known(place):
        return f"unknown file type: {place.suffix or 'no extension'}"
    if tree.tracks(place):
        return ""
    return left_out or _ignored(place, tree, is_folder=False) or ("hidden" if entry.name.startswith(".") else "")


def _why_not_folder(entry: os.DirEntry[str], place: Path, tree: WorkingTree, beside: set[str]) -> str:
    name = entry.name
    reason = _ignored(place, tree, is_folder=True) or _PACKAGES.get(name, "")
    if reason or name.startswith("."):
        return reason or "hidden"
    if (place / "pyvenv.cfg").exists() or (place / "conda-meta").is_dir():
        return "a virtual environment"
    if (place / "CACHEDIR.TAG").exists():
        return "a cache"
    made_by = _BUILT_BY.get(name, set()) & beside
    if made_by and not (place / "__init__.py").exists():
        return f"built, as {min(made_by)} beside it says"
    return ""


def _ignored(place: Path, tree: WorkingTree, *, is_folder: bool) -> str:
    return "ignored by .gitignore" if tree.ignores(place, is_folder=is_folder) else ""


def _excluded(path: Path, root: Path, exclude: Sequence[str]) -> str:
    below = path.relative_to(root).as_posix()
    return "excluded" if any(fnmatch(below, pattern) for pattern in exclude) else ""
