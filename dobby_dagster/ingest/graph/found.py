"""What a name stands for."""

from __future__ import annotations

from dataclasses import dataclass

from dobby_dagster.ingest.graph.certainties import IMPORTED, Way
from dobby_dagster.ingest.graph.definitions import Definition


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for.

    Attributes:
        definitions: None of the tree if it is empty: something outside.
        way: How it was found.
    """

    definitions: tuple[Definition, ...]
    way: Way


OUTSIDE = Found((), IMPORTED)
