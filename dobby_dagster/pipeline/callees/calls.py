"""What calls what in the ingested trees, as far as it is fairly certain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.call_order import call_levels, callees_first
from dobby_dagster.domain.code_graph import Edge
from dobby_dagster.pipeline.callees.callee_context import CERTAINTY
from dobby_dagster.store.cozo_store import CozoStore


@dataclass(frozen=True)
class Calls:
    """Calls between records, without those inside of a cycle: nothing is told of what calls back, so an order exists.

    Attributes:
        callees: Of each caller, the most certain first.
        callers: Of each callee.
        place: Of each record that calls or is called, in an order in which callees come first.
    """

    callees: dict[str, list[str]]
    callers: dict[str, list[str]]
    place: dict[str, int]

    @classmethod
    def read(cls, store: CozoStore) -> Calls:
        """The calls in the stored code graph."""
        return cls.of(store.graph.calls(CERTAINTY))

    @classmethod
    def of(cls, edges: Iterable[Edge]) -> Calls:
        """Those of ``edges`` that are between records; the top of a file is told nothing, and neither is its outline.

        >>> from dobby_dagster.domain.code_graph import EdgeKind, FoundBy
        >>> ends = [("f::b", "f::a"), ("f::c", "f::b"), ("f::a", "f::a")]
        >>> calls = Calls.of(Edge(start, EdgeKind.CALLS, end, FoundBy.NAME, 1.0) for start, end in ends)
        >>> calls.callees, calls.callers["f::a"], calls.place
        ({'f::b': ['f::a'], 'f::c': ['f::b']}, ['f::b'], {'f::a': 0, 'f::b': 1, 'f::c': 2})
        """
        found = [each for each in edges if "::" in each.start and "::" in each.end]
        pairs = [(each.start, each.end) for each in found]
        groups = callees_first(list(dict.fromkeys(key for pair in pairs for key in pair)), pairs)
        group_of = {key: number for number, group in enumerate(groups) for key in group}
        callees: dict[str, list[str]] = {}
        callers: dict[str, list[str]] = {}
        for edge in sorted(found, key=lambda each: (-each.certainty, each.end, each.start)):
            if group_of[edge.start] != group_of[edge.end]:
                callees.setdefault(edge.start, []).append(edge.end)
                callers.setdefault(edge.end, []).append(edge.start)
        ordered = (key for group in groups for key in group)
        return cls(callees, callers, {key: number for number, key in enumerate(ordered)})

    def ordered(self, waiting: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Ranks and keys by rank; of each rank callees come first, and what neither calls nor is called."""
        return sorted(waiting, key=lambda each: (each[0], self.place.get(each[1], -1), each[1]))

    def levels(self, keys: Collection[str]) -> dict[str, int]:
        """A number for each of ``keys``, higher than that of each of ``keys`` that it calls."""
        wanted = set(keys)
        pairs = [(key, callee) for key in wanted for callee in self.callees.get(key, ()) if callee in wanted]
        return call_levels(([key] for key in sorted(wanted, key=lambda key: self.place.get(key, -1))), pairs)
