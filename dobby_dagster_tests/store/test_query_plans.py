"""No query that is asked again and again reads a whole relation to join it: its cost would grow with the ledger.

CozoDB joins a stored relation by a prefix of its key; where other columns are bound as well it builds a copy of the
whole relation first ("materialized join"), for each page of keys again.
"""

from collections.abc import Iterator

import pytest

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.scope import RecipeId, RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.pipeline.monitoring.progress_reader import ProgressReader
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.reporting.doubtful_summaries import batch_to_redo
from dobby_dagster.pipeline.reporting.unplanned_changes import unplanned_changes
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connection import Params, Result
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

# Relations with a row or more for each record.
LARGE = {
    f":{name}"
    for name in (
        "record",
        "dobby_version",
        "dobby_member",
        "dobby_state",
        "dobby_summary",
        "dobby_waiting",
        "dobby_document",
        "dobby_edge",
    )
}
BATCH = "batch-000001"


def materialized(store: CozoStore, script: str, params: Params) -> Iterator[str]:
    """The large relations that the query copies to join them."""
    try:
        steps = list(store.connection.run(f"::explain {{ {script} }}", params).dicts())
    except StoreError:
        return  # several blocks, or a command
    for place, step in enumerate(steps):
        if step["op"] == "stored_mat_join":
            loaded = next(each["ref"] for each in reversed(steps[:place]) if each["op"].startswith("load_stored"))
            if loaded in LARGE:
                yield loaded


@pytest.fixture
def asked(any_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Params]]:
    """Everything that the store is asked for."""
    found: list[tuple[str, Params]] = []
    plain = any_store.connection.run

    def noted(script: str, params: Params | None = None, *, write: bool = False) -> Result:
        found.append((script, params or {}))
        return plain(script, params, write=write)

    monkeypatch.setattr(any_store.connection, "run", noted)
    return found


def ask_everything(store: CozoStore) -> None:
    put(store, {f"k{i}": f"word{i} {'FAIL' if i == 3 else 'UNSURE' if i == 5 else ''}" for i in range(12)})
    run(store, FakeEngine())
    put(store, {"k0": "another", "new": "one more"})
    source, scope = store.source(SourceSettings()), Scope(RECIPE.id, BATCH, RunId("run"))
    plan(store, source, 10)
    for found in (
        store.reports.overview(source, RECIPE.id), store.reports.entries("record", RECIPE.id),
        store.reports.rows(source, RECIPE.id), store.reports.outputs("record", RECIPE.id),
        store.reports.summaries_of("record", "k1"), store.states.failed("record", RECIPE.id),
        store.states.members(scope), store.states.unfinished("record", RECIPE.id, 3), store.states.counts(scope),
        store.states.quarantined(RECIPE.id, 3, [BATCH]), store.states.history("record", "k1"),
        store.batch_reports.summaries(scope), store.batch_reports.errors(scope), store.batch_reports.chunks(scope),
        store.attempts.batches("record", RECIPE.id), store.audit.examine(), store.activity.runs(),
        ProgressReader(store, 3).read(), store.changes.between("record", RECIPE.id, 0, store.counts.now()),
        store.changes.between("record", RECIPE.id, store.changes.noted_since() or 0, store.counts.now()),
        unplanned_changes(store, source), store.graph.edges_from(["k0"]), store.graph.edges_to(["k1"]),
    ):  # fmt: skip
        list(found)  # some are read as they are needed
    assert store.documents.ranked("record", ["k1"], 5) == ["k1"]
    store.documents.put("record", RECIPE.id, store.documents.missing("record", RECIPE.id, ["k0", "k1"]), ["k0", "k1"])
    assert store.documents.unindexed("record") == 0
    edge = Edge("k0", EdgeKind.CALLS, "k1", FoundBy.NAME, 0.5)
    store.graph.replace("tree", [edge])
    store.graph.replace("tree", [edge])
    store.upkeep.redo("record", RECIPE.id, ["k1"])
    batch_to_redo(store, "record", RECIPE.id, 1.0, RecipeId("other"))


def test_no_query_copies_a_large_relation(any_store: CozoStore, asked: list[tuple[str, Params]]) -> None:
    ask_everything(any_store)
    scripts = dict(asked)
    copied = {script: list(materialized(any_store, script, params)) for script, params in scripts.items()}
    assert len(copied) > 30
    assert [(script, relations) for script, relations in copied.items() if relations] == []


def test_a_query_that_does_is_seen(any_store: CozoStore) -> None:
    query = "?[key] := key in $keys, *dobby_summary{source: 'record', key, fingerprint, recipe: 'r'}"
    assert list(materialized(any_store, query, {"keys": ["a"]})) == [":dobby_summary"]
