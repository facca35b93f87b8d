"""A tree that was ingested at another place before, and has been moved or checked out again since."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.plurals import counted
from dobby_dagster.ingest.deletion import is_below
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster.store.cozo_store import CozoStore


@dataclass(frozen=True)
class Move:
    """A place that is gone, whose records may be those of another place of the same name.

    Attributes:
        name: First part of the keys.
        place: The path that is ingested.
        former: Where the records were ingested.
        found: How many of the former files are at the new place.
        files: How many files there were.
        is_shared: Other machines may use the database, and have a tree at ``former``.
    """

    name: str
    place: str
    former: str
    found: int
    files: int
    is_shared: bool = False

    @property
    def needs_permission(self) -> bool:
        """Whether another tree may be meant."""
        return self.is_shared or self.found * 2 < self.files

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
        here = f"{self.found:,} of {counted(self.files, 'file')} {'is' if self.found == 1 else 'are'} here"
        return f"{here}, and another machine may have it still." if self.is_shared else f"{here}."


def moves(store: CozoStore, tree: SourceTree) -> list[Move]:
    """The former places of ``tree``: those that are gone, and whose records have its name and some of its files.

    Args:
        store: Where the records are. On a server, also those of other machines.
        tree: Its files need not be read.
    """
    found = []
    for former, places in store.records.origins().items():
        if former == tree.origin or not all(is_below(place, [tree.prefix]) for place in places) or not is_gone(former):
            continue
        if here := _found(Path(tree.origin), tree.prefix, places):
            is_shared = store.connection.driver is None
            found.append(Move(tree.prefix, tree.origin, former, here, len(set(places)), is_shared))
    return found


def _found(root: Path, prefix: str, places: Sequence[str]) -> int:
    return sum(os.path.lexists(root / place[len(prefix) + 1 :]) for place in set(places))


def is_gone(origin: str) -> bool:
    """Whether nothing is at a tree's path on this machine; of one that can't be looked at, it is unknown: False."""
    if "\\x" in origin:  # an escape of a byte: see `display`
        return False
    try:
        os.lstat(origin)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False
