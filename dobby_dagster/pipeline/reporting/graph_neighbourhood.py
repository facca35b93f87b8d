"""What is around one node of the code graph: what contains it, its parts, and its callers, callees and imports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from dobby_dagster.domain.code_graph import Edge, EdgeKind
from dobby_dagster.store.ledger.code_graph import CodeGraph

DEEPEST = 6
# Nodes in one list, as far as it goes.
MOST = 500
_MOST_AROUND = 50


@dataclass(frozen=True, slots=True)
class Near:
    """A node that edges of one kind lead to or come from.

    Attributes:
        node: Its key, place or package.
        edge: By which it was found.
        depth: How many edges away it is, from 1.
        again: It is the node itself, or is in the list before: what is beyond is not repeated.
    """

    node: str
    edge: Edge
    depth: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Direction:
    """All that is reached over edges of one kind, in one direction.

    Attributes:
        nearest: Each node followed by what is reached through it, the most certain first.
        more: By node how many of its neighbours were left out; of the whole list under the node itself.
    """

    nearest: list[Near] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What is around a node.

    Attributes:
        node: Its key or place.
        within: What contains it, from the inside out.
        around: By name: parts, callers, callees, imports, imported_by.
    """

    node: str
    within: list[str]
    around: dict[str, Direction]


DIRECTIONS: dict[str, tuple[EdgeKind, bool]] = {
    "parts": (EdgeKind.CONTAINS, True),
    "callers": (EdgeKind.CALLS, False),
    "callees": (EdgeKind.CALLS, True),
    "imports": (EdgeKind.IMPORTS, True),
    "imported_by": (EdgeKind.IMPORTS, False),
}


def neighbourhood(graph: CodeGraph, node: str, depth: int, width: int) -> Neighbourhood:
    """Read what is around ``node``.

    Args:
        graph: The stored edges.
        node: A key or place.
        depth: How many edges to follow; parts are only those directly in it.
        width: How many neighbours of each node to keep.
    """
    around = {
        name: _reached(graph, node, kind, 1 if kind is EdgeKind.CONTAINS else depth, width, forward=forward)
        for name, (kind, forward) in DIRECTIONS.items()
    }
    return Neighbourhood(node, list(_within(graph, node)), around)


def edges_of(found: Neighbourhood) -> list[Edge]:
    """All edges around the node but those that only say what contains what, each once."""
    near = (each for name, way in found.around.items() if name != "parts" for each in way.nearest)
    return list(dict.fromkeys(each.edge for each in near))


def _within(graph: CodeGraph, node: str) -> Iterator[str]:
    seen = {node}
    while len(seen) < _MOST_AROUND:
        outer = min((edge.start for edge in graph.edges_to([node], [EdgeKind.CONTAINS])), default=node)
        if outer in seen:
            return
        seen.add(outer)
        yield outer
        node = outer


def _reached(graph: CodeGraph, node: str, kind: EdgeKind, depth: int, width: int, *, forward: bool) -> Direction:
    """Breadth first, so that each node is at its least depth; then in the order of a tree."""
    read: Callable[[Collection[str], Sequence[EdgeKind]], Iterator[Edge]]
    read = graph.edges_from if forward else graph.edges_to
    below: dict[str, list[Near]] = {}
    more: dict[str, int] = {}
    seen, level, left = {node}, [node], MOST
    for distance in range(1, depth + 1):
        edges: dict[str, list[tuple[float, str, Edge]]] = {each: [] for each in level}
        for edge in read(level, [kind]):
            at, other = (edge.start, edge.end) if forward else (edge.end, edge.start)
            edges[at].append((-edge.certainty, other, edge))
        level = []
        for at, found in edges.items():
            kept = sorted(found, key=lambda each: each[:2])[: min(width, left)]
            left -= len(kept)
            if len(found) > len(kept):
                more[at] = len(found) - len(kept)
            for _, other, edge in kept:
                below.setdefault(at, []).append(Near(other, edge, distance, other in seen))
                if other not in seen:
                    seen.add(other)
                    level.append(other)
    return Direction(list(_as_tree(node, below)), more)


def _as_tree(node: str, below: dict[str, list[Near]]) -> Iterator[Near]:
    stack = list(reversed(below.get(node, [])))
    while stack:
        near = stack.pop()
        yield near
        if not near.again:
            stack += reversed(below.get(near.node, []))
