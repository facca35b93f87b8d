"""Deletions of records that may be unintended, which need a permission."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.plurals import counted

# More than half of the records of a root need a permission, unless they are no more than these.
FEW = 50


@dataclass(frozen=True)
class Deletion:
    """A deletion that may be unintended.

    Attributes:
        root: The path that is ingested.
        count: How many records from that root would be deleted.
        stored: How many records from it there are.
        reason: Why they would be deleted.
    """

    root: str
    count: int
    stored: int
    reason: str

    @property
    def question(self) -> str:
        """What to ask before the records are deleted."""
        return f"Delete {self._which}? {self.reason}"

    @property
    def refusal(self) -> tuple[str, str]:
        """Why the ingestion does not go on, and the way out."""
        return f"{self._which} would be deleted: {self.reason}", "nothing was deleted; --yes deletes them"

    @property
    def _which(self) -> str:
        return f"{self.count:,} of {counted(self.stored, 'record')} of '{self.root}'"


def is_below(key: str, places: Sequence[str]) -> bool:
    """Whether a record's key is that of one of ``places``, files or folders, or of something in it.

    >>> is_below("src/a.py::f", ["src/a.py"]), is_below("src/a.py2::f", ["src/a.py"])
    (True, False)
    """
    return key in places or key.startswith(tuple(place + mark for place in places for mark in ("/", "::")))


def renamed(root: str, prefix: str, stored: Collection[str]) -> Deletion | None:
    """The deletion of ``stored`` keys because the root now has another ``prefix``; None if all have this one."""
    others = sum(not is_below(key, [prefix]) for key in stored)
    reason = f"they were ingested under another name than '{prefix}'"
    return Deletion(root, others, len(stored), reason) if others else None


def vanished(root: str, keys: Collection[str], stored: Collection[str]) -> Deletion | None:
    """The deletion of ``keys`` that are no longer found, if they are more than half of many ``stored`` ones."""
    is_large = len(keys) > FEW and len(keys) * 2 > len(stored)
    return Deletion(root, len(keys), len(stored), "they are no longer found there") if is_large else None
