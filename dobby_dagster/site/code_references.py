"""What calls and imports what, for links between pages; nothing where no source tree was ingested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dobby_dagster.domain.code_graph import Edge, EdgeKind

# By kind of edge: what its start is told of its end, and its end of its start. In the order in which they are shown.
_HEADINGS = {EdgeKind.CALLS: ("Calls", "Called by"), EdgeKind.IMPORTS: ("Imports", "Imported by")}
SHOWN_KINDS = tuple(_HEADINGS)


@dataclass(frozen=True, slots=True)
class Reference:
    """The other end of an edge.

    Attributes:
        key: Of a record, a place, or a package outside of the tree.
        certainty: That the edge is right, from 0 to 1.
    """

    key: str
    certainty: float


# By heading, the most certain first.
References = tuple[tuple[str, tuple[Reference, ...]], ...]


def code_references(edges: Iterable[Edge]) -> Mapping[str, References]:
    """What each record and place refers to, and what refers to it, by its key."""
    found: dict[str, dict[str, list[Reference]]] = defaultdict(lambda: defaultdict(list))
    for edge in edges:
        there, back = _HEADINGS[edge.kind]
        found[edge.start][there].append(Reference(edge.end, edge.certainty))
        found[edge.end][back].append(Reference(edge.start, edge.certainty))
    order = [heading for pair in _HEADINGS.values() for heading in pair]
    return {
        key: tuple((heading, _sorted(groups[heading])) for heading in order if heading in groups)
        for key, groups in found.items()
    }


def _sorted(references: list[Reference]) -> tuple[Reference, ...]:
    return tuple(sorted(references, key=lambda each: (-each.certainty, each.key)))
