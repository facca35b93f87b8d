"""What is around a node: bounded, each node once at its least depth, and the way to each is in the answer."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.pipeline.reporting.graph_neighbourhood import MOST, edges_of, neighbourhood
from dobby_dagster.pipeline.reporting.mermaid import flowchart
from dobby_dagster.store.cozo_store import CozoStore

NODES = st.sampled_from("abcdef")
EDGES = st.builds(Edge, NODES, st.sampled_from(EdgeKind), NODES, st.just(FoundBy.NAME), st.sampled_from([0.5, 1.0]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(EDGES, max_size=15), st.integers(1, 4), st.integers(1, 4))
def test_what_is_around_a_node(sqlite_store: CozoStore, edges: list[Edge], depth: int, width: int) -> None:
    sqlite_store.graph.replace("tree", edges)
    stored = set(sqlite_store.graph.edges_from("abcdef"))
    found = neighbourhood(sqlite_store.graph, "a", depth, width)
    assert len(set(found.within) | {"a"}) == len(found.within) + 1
    assert set(edges_of(found)) <= stored
    for way in found.around.values():
        first = [near.node for near in way.nearest if not near.again]
        assert len(set(first)) == len(first)
        assert {near.node for near in way.nearest if near.again} <= {"a", *first}
        assert all(1 <= near.depth <= depth for near in way.nearest)
        assert all(more > 0 for more in way.more.values())
    calls = {edge.end for edge in stored if edge.start == "a" and edge.kind is EdgeKind.CALLS}
    direct = [near for near in found.around["callees"].nearest if near.depth == 1]
    assert len(direct) + found.around["callees"].more.get("a", 0) == len(calls)
    chart = list(flowchart("a", edges_of(found)))
    assert sum("-.->" in line for line in chart) == len(edges_of(found))


def test_a_graph_that_fans_out_is_bounded(sqlite_store: CozoStore) -> None:
    edges = [
        Edge(f"n{i}", EdgeKind.CALLS, f"n{i * 40 + j}", FoundBy.NAME, 0.5) for i in range(60) for j in range(1, 41)
    ]
    sqlite_store.graph.replace("tree", edges)
    way = neighbourhood(sqlite_store.graph, "n0", 6, 40).around["callees"]
    assert len(way.nearest) <= MOST
    assert sum(way.more.values()) > 0
