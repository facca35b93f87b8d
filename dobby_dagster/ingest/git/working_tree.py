"""Determines the files of a working tree that git would list, without running git.

Git's configuration names programs (``core.fsmonitor``, hooks, filters), and an untrusted tree brings its own. So git is
never run and no configuration is read: only the index, ``.gitignore`` files and ``info/exclude``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from dobby_dagster.ingest.git.git_index import tracked_paths
from dobby_dagster.ingest.git.ignore_rules import Rule, rules_of
from dobby_dagster.ingest.regular_files import NotReadError, read_regular

MAX_RULE_BYTES = 500_000
MAX_PATH_BYTES = 4_096


@dataclass(frozen=True)
class Rules:
    """The ignore rules of one file, for the paths below a folder."""

    folder: str
    rules: tuple[Rule, ...]

    def verdict(self, path: str) -> bool | None:
        """Whether ``path`` is ignored; None if no rule matches it."""
        parts = path[len(self.folder) :].removesuffix("/").split("/")
        is_folder = path.endswith("/")
        matching = (rule.ignores for rule in reversed(self.rules) if rule.matches(parts, is_folder=is_folder))
        return next(matching, None)


@dataclass(frozen=True)
class Index:
    """The tracked files, read on first use.

    Attributes:
        git: The git folder; None if there is none.
    """

    git: Path | None

    @cached_property
    def files(self) -> frozenset[str]:
        """The paths in the index."""
        return frozenset(tracked_paths(self.git) if self.git else ())

    @cached_property
    def folders(self) -> frozenset[str]:
        """The parent folders of the tracked files, with a slash at the end."""
        folders = set()
        for name in self.files:
            while (name := name.rpartition("/")[0]) and f"{name}/" not in folders:
                folders.add(f"{name}/")
        return frozenset(folders)


@dataclass(frozen=True)
class WorkingTree:
    """A folder with or without a ``.git``; ``.gitignore`` files are honoured in both.

    Paths are relative to ``top``, with a slash at the end of a folder. They are bytes decoded as Latin-1, since git
    compares bytes.
    """

    top: Path
    index: Index
    rules: tuple[Rules, ...] = ()

    @classmethod
    def at(cls, top: Path) -> WorkingTree:
        """The working tree of ``top``, with the rules of its ``info/exclude``."""
        git = _git_folder(top)
        rules = _rules("", _common_folder(git) / "info" / "exclude") if git else None
        return cls(top, Index(git), (rules,) if rules else ())

    @classmethod
    def around(cls, root: Path) -> WorkingTree:
        """The working tree that ``root`` is in, with the rules of the folders above ``root``.

        A ``root`` that those rules ignore was named on purpose: then they do not apply.
        """
        top = next((folder for folder in (root, *root.parents) if _exists(folder / ".git")), root)
        tree, folder = cls.at(top), top
        for part in root.relative_to(top).parts:
            tree, folder = tree.inside(folder), folder / part
            if tree.ignores(folder, is_folder=True) and not tree.holds_tracked(folder):
                return cls(root, Index(None))
        return tree

    def inside(self, folder: Path) -> WorkingTree:
        """This tree with the rules of the ``.gitignore`` in ``folder`` added."""
        rules = _rules(self._path(folder, is_folder=True), folder / ".gitignore")
        return replace(self, rules=(*self.rules, rules)) if rules else self

    def ignores(self, path: Path, *, is_folder: bool) -> bool:
        """Whether the last rule that matches ``path`` ignores it; its parent folders are not considered."""
        below = self._path(path, is_folder=is_folder)
        verdicts = (rules.verdict(below) for rules in reversed(self.rules))
        return next((verdict for verdict in verdicts if verdict is not None), False)

    def tracks(self, path: Path) -> bool:
        """Whether the file is in the index."""
        return self._path(path, is_folder=False) in self.index.files

    def holds_tracked(self, folder: Path) -> bool:
        """Whether a file below ``folder`` is in the index."""
        return self._path(folder, is_folder=True) in self.index.folders

    def _path(self, path: Path, *, is_folder: bool) -> str:
        below = os.fsencode(path.relative_to(self.top).as_posix()).decode("latin-1")
        return "" if below == "." else below + "/" * is_folder


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _read(path: Path, limit: int, *, follow: bool = False) -> bytes:
    try:
        return read_regular(path, limit, follow=follow)
    except NotReadError:
        return b""


def _git_folder(top: Path) -> Path | None:
    """The folder of the index: ``.git``, or the one that the file ``.git`` of a worktree or submodule names."""
    place = top / ".git"
    if place.is_dir():
        return place
    line = _read(place, MAX_PATH_BYTES).partition(b"\n")[0]
    return top / os.fsdecode(line.removeprefix(b"gitdir:").strip()) if line.startswith(b"gitdir:") else None


def _common_folder(git: Path) -> Path:
    named = _read(git / "commondir", MAX_PATH_BYTES).partition(b"\n")[0].strip()
    return git / os.fsdecode(named) if named else git


def _rules(folder: str, file: Path) -> Rules | None:
    rules = rules_of(_read(file, MAX_RULE_BYTES).decode("latin-1").removeprefix("\xef\xbb\xbf"))
    return Rules(folder, tuple(rules)) if rules else None
