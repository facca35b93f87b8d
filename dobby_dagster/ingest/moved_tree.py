"""A tree that was ingested at another place before, and has been moved or checked out again since."""

from __future__ import annotations

import hashlib
import heapq
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.plurals import counted
from dobby_dagster.ingest.deletion import is_below
from dobby_dagster.ingest.source_files import display
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster.store.cozo_store import CozoStore

# So many of the former files are compared with the new ones, at most.
SAMPLE = 200
_ESCAPED_BYTE = re.compile(r"\\x[89a-f][0-9a-f]")  # see `display`


@dataclass(frozen=True)
class Move:
    """A place that is gone, whose records may be those of another place of the same name.

    Attributes:
        name: First part of the keys.
        place: The path that is ingested.
        former: Where the records were ingested.
        equal: How many of the compared files have all their former records at the new place, with equal contents.
        files: How many of the former files were compared.
        kept: How many records of those files have their keys at the new place.
        records: How many records of those files there are.
        is_shared: Other machines may use the database, and have a tree at ``former``.
    """

    name: str
    place: str
    former: str
    equal: int
    files: int
    kept: int
    records: int
    is_shared: bool = False

    @property
    def needs_permission(self) -> bool:
        """Whether another tree may be meant, or most of the records would be deleted."""
        return self.is_shared or self.equal * 2 < self.files or self.kept * 2 < self.records

    @property
    def question(self) -> str:
        """What to ask before the records are taken over."""
        return f"Was '{self.former}' moved to '{self.place}'? {self._doubt} Take its records over?"

    @property
    def refusal(self) -> tuple[str, str]:
        """Why the ingestion does not go on, and the way out."""
        return (
            f"records of '{self.name}' were ingested at '{self.former}', which is not on this machine. {self._doubt}",
            "if that tree was moved here, --yes takes its records over; else give this one another --name",
        )

    @property
    def _doubt(self) -> str:
        here = f"{self.equal:,} of {counted(self.files, 'compared file')} {'is' if self.equal == 1 else 'are'} the same"
        if self.kept * 2 < self.records:
            here += f", {self.records - self.kept:,} of {counted(self.records, 'record')} would be deleted"
        return f"{here}, and another machine may have it still." if self.is_shared else f"{here}."


def moves(store: CozoStore, tree: SourceTree, exclude: Sequence[str] = ()) -> list[Move]:
    """The former places of ``tree``: those that are gone, and whose records have its name and some of its files.

    Args:
        store: Where the records are. On a server, also those of other machines.
        tree: Its files need not be read.
        exclude: Glob patterns of files that are left out.

    Raises:
        SourceError: The tree can't be read.
    """
    found = []
    for former, places in store.records.origins().items():
        if (
            former == tree.origin
            or not all(is_below(place, [tree.prefix]) for place in places)
            or not is_former(former, tree)
        ):
            continue
        if any(os.path.lexists(_file(tree, place)) for place in set(places)):
            found.append(_compared(store, tree, former, exclude))
    return found


def _compared(store: CozoStore, tree: SourceTree, former: str, exclude: Sequence[str]) -> Move:
    """A move of ``former``, whose records are compared with those of a sample of files as they are now."""
    of_file: dict[str, list[str]] = {}
    for key, place in store.records.keys_of(former).items():
        of_file.setdefault(place, []).append(key)
    sample = heapq.nsmallest(SAMPLE, of_file, key=lambda place: hashlib.sha256(place.encode()).digest())
    stored = {key for place in sample for key in of_file[place]}
    now = SourceTree(tree.path, tree.origin, tree.prefix)
    parts = [_file(tree, place) for place in sample]
    same = store.records.equal_ones((each for each in now.records(exclude, parts=parts) if each.key in stored), former)
    equal = sum(same.issuperset(of_file[place]) for place in sample)
    is_shared = store.connection.driver is None
    kept = len(stored & now.keys.keys())
    return Move(tree.prefix, tree.origin, former, equal, len(sample), kept, len(stored), is_shared)


def _file(tree: SourceTree, place: str) -> Path:
    return tree.path / place[len(tree.prefix) + 1 :]


def is_former(origin: str, tree: SourceTree) -> bool:
    """Whether a path is one where ``tree`` may have been: nothing is there, or a symbolic link to the tree."""
    return is_gone(origin) or (os.path.isabs(origin) and display(Path(os.path.realpath(origin))) == tree.origin)


def is_gone(origin: str) -> bool:
    """Whether nothing is at a tree's path on this machine; of one that can't be looked at, it is unknown: False.

    A source that is no absolute path is no tree's.
    """
    if not os.path.isabs(origin) or _ESCAPED_BYTE.search(origin):
        return False
    try:
        os.lstat(origin)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False
