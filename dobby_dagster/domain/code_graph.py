"""The graph of a code base: what contains, imports and calls what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# What the node of a package outside of the tree begins with, so that it is none of a folder of the same name.
OUTSIDE = "package:"


class EdgeKind(StrEnum):
    """What the start of an edge does to its end."""

    CONTAINS = "contains"
    IMPORTS = "imports"
    CALLS = "calls"


class FoundBy(StrEnum):
    """How an edge was found.

    Attributes:
        GRAMMAR: It is in the syntax tree, or in the folders: what contains what, ``self.method()``.
        IMPORT: An import or a scope says which definition a name stands for.
        NAME: Only the name agrees.
    """

    GRAMMAR = "grammar"
    IMPORT = "import"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge.

    Attributes:
        start: The key of a record, or a place: a file as ``tree/path/file.py``, a folder as ``tree/path``.
        kind: What the start does to the end.
        end: As ``start``; of an import also a package outside of the tree, as ``package:numpy``.
        found_by: How it was found.
        certainty: How likely it is right, from 0 to 1.

    >>> Edge("src/a.py::f", EdgeKind.CALLS, "src/b.py::g", FoundBy.IMPORT, 0.9).kind
    <EdgeKind.CALLS: 'calls'>
    """

    start: str
    kind: EdgeKind
    end: str
    found_by: FoundBy
    certainty: float
