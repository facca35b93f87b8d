"""The stored code graph: only a difference is written, and edges are found from both ends."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connection import Params, Result
from dobby_dagster.store.ledger import code_graph
from dobby_dagster.store.ledger.code_graph import EdgeChanges
from dobby_dagster.store.maintenance.integrity import read_everything

CALLS, IMPORTS, CONTAINS = EdgeKind.CALLS, EdgeKind.IMPORTS, EdgeKind.CONTAINS
NAMES = st.sampled_from(["t", "t/a.py", "t/a.py::f", "t/a.py::é", "t/b.py::\U0001f600", "t/b.py::\uffff", "\ud800", ""])
EDGES = st.lists(
    st.builds(
        Edge, NAMES, st.sampled_from(EdgeKind), NAMES, st.sampled_from(FoundBy), st.sampled_from([0.1, 0.5, 1.0])
    ),
    max_size=12,
    unique_by=lambda edge: (edge.start, edge.kind, edge.end),
)


def call(start: str, end: str, certainty: float = 1.0) -> Edge:
    return Edge(start, CALLS, end, FoundBy.NAME, certainty)


def everything(store: CozoStore, origin: str) -> set[Edge]:
    query = (
        "?[s, k, e, f, c] := *dobby_edge{start: s, kind: k, end: e, found_by: f, certainty: c, origin: o}, o == $origin"
    )
    rows = store.connection.run(query, {"origin": origin}).rows
    return {Edge(s, EdgeKind(k), e, FoundBy(f), c) for s, k, e, f, c in rows}


def stored_as(edge: Edge) -> Edge:
    start, end = (name.replace("\ud800", "\\ud800") for name in (edge.start, edge.end))
    return Edge(start, edge.kind, end, edge.found_by, edge.certainty)


def test_an_empty_graph(store: CozoStore) -> None:
    assert store.graph.is_empty
    assert list(store.graph.edges_from(["a"])) == []
    assert store.graph.replace("tree", []) == EdgeChanges()


def test_edges_are_found_from_both_ends_by_kind(store: CozoStore) -> None:
    edges = [call("a", "b"), call("b", "b"), Edge("a", IMPORTS, "b", FoundBy.IMPORT, 0.9), call("c", "a", 0.25)]
    assert store.graph.replace("tree", edges) == EdgeChanges(added=4)
    assert not store.graph.is_empty
    assert set(store.graph.edges_from(["a", "nosuch"])) == {edges[0], edges[2]}
    assert set(store.graph.edges_from(["a"], [CALLS])) == {edges[0]}
    assert set(store.graph.edges_to(["b"])) == set(edges[:3])
    assert set(store.graph.edges_to(["a", "b"], [CALLS])) == {edges[0], edges[1], edges[3]}
    assert list(store.graph.edges_to(["b"], [CONTAINS])) == []
    assert list(store.graph.edges_from([])) == []


def test_many_nodes_are_asked_for_in_parts(store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_graph, "NODES", 2)
    edges = {call(f"a{i}", f"b{i}") for i in range(7)}
    store.graph.replace("tree", edges)
    assert set(store.graph.edges_from([f"a{i}" for i in range(7)] * 2)) == edges
    assert set(store.graph.edges_to([f"b{i}" for i in range(7)])) == edges


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(before=EDGES, after=EDGES, page=st.integers(1, 5))
def test_the_difference_is_exact_and_again_there_is_none(
    any_store: CozoStore, monkeypatch: pytest.MonkeyPatch, before: list[Edge], after: list[Edge], page: int
) -> None:
    monkeypatch.setattr(code_graph, "PAGE", page)
    any_store.graph.replace("tree", before)
    any_store.graph.replace("other", [call("elsewhere", "t")])
    old, new = set(map(stored_as, before)), set(map(stored_as, after))
    keys = {(edge.start, edge.kind, edge.end) for edge in new}
    changes = any_store.graph.replace("tree", after)
    removed = sum((edge.start, edge.kind, edge.end) not in keys for edge in old)
    assert changes == EdgeChanges(len(new - old), removed, len(new & old))
    assert everything(any_store, "tree") == new
    assert everything(any_store, "other") == {call("elsewhere", "t")}
    assert any_store.graph.replace("tree", reversed(after)) == EdgeChanges(kept=len(new))
    assert read_everything(any_store.connection).problems == []


def test_what_is_unchanged_is_not_written(any_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    edges = [call("a", "b"), call("b", "c")]
    any_store.graph.replace("tree", edges)
    plain, written = any_store.connection.run, []

    def noted(script: str, params: Params | None = None, *, write: bool = False) -> Result:
        if write and params:
            written.append((params["rows"], params["gone"]))
        return plain(script, params, write=write)

    monkeypatch.setattr(any_store.connection, "run", noted)
    any_store.graph.replace("tree", edges)
    assert written == []
    any_store.graph.replace("tree", [edges[0], call("c", "d")])
    assert written == [([["c", "calls", "d", "name", 1.0, "tree"]], [["b", "calls", "c"]])]


def test_the_more_certain_of_two_edges_counts(any_store: CozoStore) -> None:
    assert any_store.graph.replace("tree", [call("a", "b", 0.2), call("a", "b", 0.8), call("a", "b", 0.5)]).added == 1
    assert list(any_store.graph.edges_from(["a"])) == [call("a", "b", 0.8)]


def test_an_edge_of_another_tree_stays_as_it_is(any_store: CozoStore) -> None:
    any_store.graph.replace("one", [call("a", "b", 0.8)])
    assert any_store.graph.replace("two", [call("a", "b", 0.5), call("b", "c")]) == EdgeChanges(added=1)
    assert any_store.graph.replace("two", []) == EdgeChanges(removed=1)
    assert list(any_store.graph.edges_from(["a"])) == [call("a", "b", 0.8)]
