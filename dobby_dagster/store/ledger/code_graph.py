"""The graph of the ingested code: its edges, stored by their start and found by their end too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.store.cozoscript.script import unpack
from dobby_dagster.store.cozoscript.storable import storable_text
from dobby_dagster.store.database.connection import Connection, Row
from dobby_dagster.store.ledger.relations import EDGE, OUTLINE

PAGE = 4_000
NODES = 500
_ALL = tuple(EdgeKind)
# Joined by the key alone: with the origin bound as well, the whole relation would be read.
_EDGE = f"*{EDGE.name}{{start, kind, end, found_by, certainty}}"
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class EdgeChanges:
    """What a replacement changed.

    Attributes:
        added: Edges that were not stored, or stored with another certainty or way of finding.
        removed: Stored edges that are no longer there.
        kept: Edges that were stored already.
    """

    added: int = 0
    removed: int = 0
    kept: int = 0

    def __add__(self, other: EdgeChanges) -> EdgeChanges:
        """The changes of two replacements together."""
        return EdgeChanges(self.added + other.added, self.removed + other.removed, self.kept + other.kept)


class CodeGraph:
    """Writing and reading edges."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def is_empty(self) -> bool:
        """Whether no edge is stored."""
        return not self._connection.run(f"?[start] := *{EDGE.name}{{start}} :limit 1").rows

    def replace(self, origin: str, edges: Iterable[Edge]) -> EdgeChanges:
        """Make ``edges`` the edges from ``origin``: only the difference is written, one transaction a page.

        A replacement that is killed leaves a part of the difference, and the next one completes it. Of two edges with
        the same start, kind and end the more certain one counts. An edge that another origin has stored stays as it is.

        Args:
            origin: The path of the tree that the edges are from.
            edges: All of them, in any order.
        """
        origin = storable_text(origin)
        wanted = _rows(edges, origin)
        changes = EdgeChanges()
        put: list[Row] = []
        gone: list[Row] = []
        for stored, new in _merged(self._stored(origin), ((_key(row), row) for row in wanted)):
            if new is None and stored is not None:
                gone.append(stored[:3])
            elif new is not None and stored != new:
                put.append(new)
            else:
                changes = replace(changes, kept=changes.kept + 1)
            if len(put) + len(gone) == PAGE:
                changes = self._write(put, gone, changes)
                put, gone = [], []
        return self._write(put, gone, changes)

    def calls(self, certainty: float) -> Iterator[Edge]:
        """All calls between records of at least this certainty, in the order of their starts and ends, page by page.

        Those of a file or to a file, which have an outline, are left out.
        """
        # Only a comparison of one column is a range of the index.
        query = f"""?[start, end, found_by, certainty] := {_EDGE}, start >= $start, kind == '{EdgeKind.CALLS}',
            [start, end] > $after, certainty >= $certainty,
            not *{OUTLINE.name}{{key: start}}, not *{OUTLINE.name}{{key: end}} :limit {PAGE}"""
        after = ["", ""]
        while True:
            rows = self._connection.run(query, {"start": after[0], "after": after, "certainty": certainty}).rows
            for start, end, found_by, sure in rows:
                yield Edge(start, EdgeKind.CALLS, end, FoundBy(found_by), sure)
            if len(rows) < PAGE:
                return
            after = rows[-1][:2]

    def edges_from(self, keys: Collection[str], kinds: Sequence[EdgeKind] = _ALL) -> Iterator[Edge]:
        """The edges that start at ``keys``, in no order.

        Args:
            keys: Keys of records, and places.
            kinds: Only these.
        """
        return self._edges("start in $nodes, kind in $kinds", keys, kinds)

    def edges_to(self, keys: Collection[str], kinds: Sequence[EdgeKind] = _ALL) -> Iterator[Edge]:
        """The edges that end at ``keys``, in no order; arguments as for :meth:`edges_from`."""
        by_end = f"end in $nodes, kind in $kinds, *{EDGE.name}:by_end{{end, kind, start}}"
        return self._edges(by_end, keys, kinds)

    def _edges(self, where: str, keys: Collection[str], kinds: Sequence[EdgeKind]) -> Iterator[Edge]:
        query = f"?[start, kind, end, found_by, certainty] := {where}, {_EDGE}"
        left = iter(dict.fromkeys(map(storable_text, keys)))
        while nodes := list(islice(left, NODES)):
            params = {"nodes": nodes, "kinds": [kind.value for kind in kinds]}
            for start, kind, end, found_by, certainty in self._connection.run(query, params).rows:
                yield Edge(start, EdgeKind(kind), end, FoundBy(found_by), certainty)

    def _stored(self, origin: str) -> Iterator[tuple[_Key, Row]]:
        """The stored edges of ``origin`` in the order of their keys, page by page."""
        # Only a comparison of one column is a range of the index.
        query = f"""?[{", ".join(EDGE.columns)}] := {EDGE.stored}, start >= $start, [start, kind, end] > $after,
            origin == $origin :limit {PAGE}"""
        after = ["", "", ""]
        while True:
            rows = self._connection.run(query, {"origin": origin, "start": after[0], "after": after}).rows
            yield from ((_key(row), row) for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][:3]

    def _write(self, put: list[Row], gone: list[Row], changes: EdgeChanges) -> EdgeChanges:
        """Write one page in one transaction; edges of other origins are left out."""
        if not put and not gone:
            return changes
        others = f"""?[start, kind, end] := {unpack(EDGE.key)}, *{EDGE.name}{{start, kind, end, origin}},
            origin != $origin"""
        if put:
            params = {"rows": [row[:3] for row in put], "origin": put[0][-1]}
            taken = {_key(row) for row in self._connection.run(others, params).rows}
            put = [row for row in put if _key(row) not in taken]
        remove = f"{{ ?[start, kind, end] := {unpack(EDGE.key, 'gone')} {EDGE.remove} }}"
        self._connection.run(f"{EDGE.put()}\n{remove}", {"rows": put, "gone": gone}, write=True)
        return EdgeChanges(changes.added + len(put), changes.removed + len(gone), changes.kept)


def _rows(edges: Iterable[Edge], origin: str) -> list[Row]:
    """One row for each start, kind and end, in the order of the database: that of code points."""
    best: dict[_Key, Row] = {}
    for edge in edges:
        key = (storable_text(edge.start), edge.kind.value, storable_text(edge.end))
        before = best.get(key)
        if before is None or before[4] < edge.certainty:
            best[key] = [*key, edge.found_by.value, float(edge.certainty), origin]
    return [best[key] for key in sorted(best)]


def _key(row: Row) -> _Key:
    return row[0], row[1], row[2]


def _merged(
    stored: Iterator[tuple[_Key, Row]], wanted: Iterator[tuple[_Key, Row]]
) -> Iterator[tuple[Row | None, Row | None]]:
    """The stored and the wanted row of each key that either has; both are in the order of keys."""
    old, new = next(stored, None), next(wanted, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            yield (old[1] if old else None), None
            old = next(stored, None)
        elif old is None or new[0] < old[0]:
            yield None, new[1]
            new = next(wanted, None)
        else:
            yield old[1], new[1]
            old, new = next(stored, None), next(wanted, None)
