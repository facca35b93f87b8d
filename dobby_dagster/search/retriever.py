"""The protocol of a retriever: one way to find records."""

from __future__ import annotations

from typing import Protocol


class Retriever(Protocol):
    """Ranks the records of one source by how well they fit a text."""

    @property
    def way(self) -> str:
        """Its name, by which a hit says how it was found: ``text``, ``vector``."""
        ...

    def ranked(self, text: str, limit: int, prefix: str = "") -> list[str]:
        """Up to ``limit`` keys that begin with ``prefix``, each once, the best first; fewer only if there are no more.

        Keys of records that are deleted meanwhile may be among them.
        """
        ...

    def problem(self) -> str:
        """Why it can't find anything, in one line that says what to do; empty where it can."""
        ...

    def behind(self) -> str:
        """What its index lacks, in one line; empty where it is up to date."""
        ...
