"""Why a file or folder of a source tree is left out."""

from __future__ import annotations

import os
from pathlib import Path

from dobby_dagster.ingest.code.languages import is_known
from dobby_dagster.ingest.git.working_tree import WorkingTree

_PYTHON = {"setup.py", "pyproject.toml"}
_PACKAGES = {
    "node_modules": "npm packages",
    "site-packages": "Python packages",
    "dist-packages": "Python packages",
    "__pycache__": "compiled Python",
}
# A folder of this name is build output if one of the tool's files is beside it.
_BUILT_BY = {
    "build": _PYTHON | {"build.gradle", "build.gradle.kts", "CMakeLists.txt", "meson.build", "package.json"},
    "dist": _PYTHON | {"package.json"},
    "target": {"Cargo.toml", "pom.xml", "build.sbt"},
}


def why_not_file(entry: os.DirEntry[str], place: Path, tree: WorkingTree, left_out: str) -> str:
    """Why a file is left out; empty if it is read.

    Args:
        entry: The file.
        place: Its real path.
        tree: The working tree that it is in.
        left_out: Why its folder is left out; then only tracked files in it are read.
    """
    if entry.is_symlink():
        return "a symbolic link"
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    if not is_known(place):
        return f"unknown file type: {place.suffix or 'no extension'}"
    if tree.tracks(place):
        return ""
    return left_out or _ignored(place, tree, is_folder=False) or ("hidden" if entry.name.startswith(".") else "")


def why_not_folder(entry: os.DirEntry[str], place: Path, tree: WorkingTree, beside: set[str]) -> str:
    """Why a folder is left out, except for tracked files in it; empty if it is read.

    Args:
        entry: The folder.
        place: Its real path.
        tree: The working tree that it is in.
        beside: The names in its parent folder.
    """
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
        return f"build output of {min(made_by)}"
    return ""


def _ignored(place: Path, tree: WorkingTree, *, is_folder: bool) -> str:
    return "ignored by .gitignore" if tree.ignores(place, is_folder=is_folder) else ""
