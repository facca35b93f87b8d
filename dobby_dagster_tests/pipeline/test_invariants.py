"""The examination that the asset checks use can fail, each part of it."""

from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.reporting.invariants import Findings, examine
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, run
from dobby_dagster_tests.helpers.records import put

BATCH = "batch-000001"


def examined(store: CozoStore) -> Findings:
    return examine(store, RECIPE, PROMPT, [BATCH])


def filled(store: CozoStore) -> CozoStore:
    put(store, {f"k{number}": f"word{number}" for number in range(5)})
    run(store, FakeEngine())
    return store


def test_a_sound_batch_has_no_finding(sqlite_store: CozoStore) -> None:
    found = examined(filled(sqlite_store))
    assert found == Findings(examined=5)


def test_members_that_are_not_settled_and_members_that_are_gone(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "1", "b": "2"})
    plan(sqlite_store, sqlite_store.source(SourceSettings()), 10)
    sqlite_store.connection.run(
        "?[batch, position] <- [['batch-000001', 1]] :rm dobby_member {batch, position}", write=True
    )
    assert examined(sqlite_store).unaccounted == [
        f"{BATCH}: 1 of 1 member not finished",
        f"{BATCH}: 1 member stored, 2 planned",
    ]


def test_exactly_one_summary_is_neither_none_nor_two(sqlite_store: CozoStore) -> None:
    run_script = filled(sqlite_store).connection.run
    columns = [row[0] for row in run_script("::columns dobby_summary").rows]
    copied = ", ".join(columns)
    others = ", ".join(column for column in columns if column != "fingerprint")
    run_script(
        f"?[{copied}] := *dobby_summary{{{others}}}, key == 'k1', fingerprint = 'another'"
        f" :put dobby_summary {{{copied}}}",
        write=True,
    )
    run_script(
        "?[source, key, fingerprint] := *dobby_summary{source, key, fingerprint}, key == 'k2'"
        " :rm dobby_summary {source, key, fingerprint}",
        write=True,
    )
    assert sorted(examined(sqlite_store).mismatched) == [
        f"{BATCH}: k1 is completed with 2 summaries of its content",
        f"{BATCH}: k2 is completed without a summary of its content",
    ]
    assert {violation.count for violation in sqlite_store.audit.examine()} == {1}
