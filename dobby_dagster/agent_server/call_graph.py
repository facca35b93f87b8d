"""The tools ``callers`` and ``callees``: what uses a record, and what it uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import Field

from dobby_dagster.agent_server.answer import NOTE_BYTES, Entry, Found, Listing, cut, fill
from dobby_dagster.agent_server.arguments import Key, PagedArguments
from dobby_dagster.agent_server.reading import Reading
from dobby_dagster.agent_server.record_entries import PAGE, described, without_record
from dobby_dagster.domain.code_graph import Edge, EdgeKind
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.printable import printable
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.pipeline.reporting.record_lookup import NAMED, find_key, namesakes

_KINDS = (EdgeKind.CALLS, EdgeKind.IMPORTS)


class GraphArguments(PagedArguments):
    """Of what."""

    key: Key = Field(
        description="A record's key, or a part that only one key has; for imports a file, such as src/a.py."
    )


class CallersArguments(GraphArguments):
    """Of what."""


class CalleesArguments(GraphArguments):
    """Of what."""


class GraphEntry(Entry):
    """What is at the other end of an edge."""

    relation: EdgeKind = Field(description="calls or imports.")
    found_by: str = Field(
        description="grammar or import: the source says which definition is meant; name: only the name agrees."
    )
    certainty: float = Field(description="How likely the edge is right, from 0 to 1.")

    def as_line(self) -> str:
        """See :class:`~dobby_dagster.agent_server.answer.Entry`."""
        return f"{self.relation} ({self.found_by}, certainty {self.certainty:.2f}): {super().as_line()}"


class Neighbours(Listing[GraphEntry]):
    """The ends of the edges, the most certain first."""

    key: str = Field(description="Of what.")

    def lines(self) -> list[str]:
        """See :class:`~dobby_dagster.agent_server.answer.Answer`."""
        return super().lines() if self.entries else [f"none is known of {self.key}"]


def callers(use: Reading, given: CallersArguments) -> Neighbours:
    """What calls or imports ``given.key``.

    Raises:
        SourceError: There is no such record, or no graph.
    """
    key = _node(use, given.key)
    return _neighbours(use, given, key, [(edge.start, edge) for edge in use.store.graph.edges_to([key], _KINDS)])


def callees(use: Reading, given: CalleesArguments) -> Neighbours:
    """What ``given.key`` calls or imports.

    Raises:
        SourceError: There is no such record, or no graph.
    """
    key = _node(use, given.key)
    return _neighbours(use, given, key, [(edge.end, edge) for edge in use.store.graph.edges_from([key], _KINDS)])


def _node(use: Reading, key: str) -> str:
    """The node of the graph that is ``key``, else the record that it names."""
    if use.store.graph.is_empty:
        own = use.relation == OWN_RELATION
        raise SourceError(
            "the database has no graph of calls",
            hint="run dobby ingest again with the same paths" if own else "only source trees of dobby ingest have one",
        )
    graph = use.store.graph
    if any(True for edges in (graph.edges_to([key]), graph.edges_from([key])) for _ in edges):
        return key
    return find_key(use.store, use.source, key, "search finds records by what they do, outline lists them")


def _neighbours(use: Reading, given: GraphArguments, key: str, edges: list[tuple[str, Edge]]) -> Neighbours:
    ranked = sorted(edges, key=lambda each: _rank(*each))
    if (position := given.position()) is not None:
        certainty, kind, after = position.split(":", 2)
        ranked = [each for each in ranked if _rank(*each) > (float(certainty), kind, after)]
    notes = use.behind()
    if others := namesakes(use.source, key):
        more = ", …" * (len(others) > NAMED)
        notes += (cut(f"there are others of the same name: {', '.join(others[:NAMED])}{more}", NOTE_BYTES),)
    blank = Neighbours(entries=(), key=printable(key)[:1_000], notes=notes)
    return fill(blank, _entries(use, ranked), given.query(), given.limit)


def _rank(other: str, edge: Edge) -> tuple[float, str, str]:
    return -edge.certainty, edge.kind, other


def _entries(use: Reading, ranked: Iterable[tuple[str, Edge]]) -> Iterator[Found[GraphEntry]]:
    left = iter(ranked)
    while page := list(islice(left, PAGE)):
        entries = described(use, list({other for other, _ in page}))
        for other, edge in page:
            entry = entries.get(other) or without_record(other, "place")
            about = {"relation": edge.kind, "found_by": edge.found_by, "certainty": edge.certainty}
            yield Found(GraphEntry(**entry.model_dump(), **about), f"{-edge.certainty!r}:{edge.kind}:{other}")
