"""What every store does, whichever engine is behind it: sqlite, rocksdb, mem, and a server over HTTP."""

import time
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import InferenceError, SourceError, StoreAccessError, StoreError
from dobby_dagster.domain.records import Content
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.states import COMPLETED, ProcessingState, State, skipped
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Outcome
from dobby_dagster.store.ledger.schema import LATEST
from dobby_dagster.store.maintenance.backup_file import restore
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done, source_with


def test_health_answers_with_the_schema(store: CozoStore) -> None:
    health = store.health()
    assert health.schema_version == LATEST
    assert health.seconds > 0


def test_a_failed_script_changes_nothing(store: CozoStore) -> None:
    source_with(store, {"a": "1"})
    with pytest.raises(StoreError):
        store.connection.run(
            "{ ?[key, content] <- [['b', '2']] :put record {key => content} } { ?[x] <- [[1]] :assert none }",
            write=True,
        )
    assert store.source(SourceSettings()).count() == 1


def test_a_reading_script_can_not_write(store: CozoStore) -> None:
    with pytest.raises(StoreError):
        store.connection.run("?[key, content] <- [['b', '2']] :put record {key => content}")


def test_unusual_contents_survive(store: CozoStore) -> None:
    contents: dict[str, Content] = {
        "text": "é\0\r\n😀", "empty": "", "nothing": None, "list": [1, {"a": None}], "object": {"b": 1, "a": [True]},
        "key with 'quotes' \"and\" `ticks`\n": "x", "number": 1.5,
    }  # fmt: skip
    source = source_with(store, contents)
    found = source.get(list(contents))
    assert {key: record.content for key, record in found.items()} == contents


def test_pages_come_in_key_order_and_hold_everything_once(store: CozoStore) -> None:
    keys = [f"k{i:03d}" for i in range(25)]
    source = source_with(store, dict.fromkeys(reversed(keys), "x"))
    for size in (1, 7, 25, 100):
        assert [record.key for page in source.pages(size) for record in page] == keys


def test_compaction_keeps_what_was_in_force(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2"})
    plan(store, source, 10)
    for _ in range(3):
        store.claims.claim(store.states.members(Scope(R, batch)), "me", Scope(R, batch, "run"))
        store.claims.release("me", Scope(R, batch))
    before = time.time()
    store.claims.claim(store.states.members(Scope(R, batch)), "me", Scope(R, batch, "run"))
    commit(store, source, batch, [done(members[0], "1", batch)])
    counts, status = store.states.counts(Scope(R, batch)), store.reports.status("record", R)
    assert len(store.states.history("record", "a")) == 9
    assert store.upkeep.compact(before - 3_600) == 0
    assert store.upkeep.compact(before) == 10
    assert [event["event"] for event in store.states.history("record", "a")] == [
        "seen", "pending", "in_progress", "completed",
    ]  # fmt: skip
    assert store.upkeep.compact(before) == 0
    assert (store.states.counts(Scope(R, batch)), store.reports.status("record", R)) == (counts, status)
    assert store.upkeep.compact(time.time() + 60) == 3
    assert (store.states.counts(Scope(R, batch)), store.reports.status("record", R)) == (counts, status)


def test_redo_returns_all_records_of_equal_content_to_pending(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "same", "b": "same", "c": "other"})
    commit(
        store,
        source,
        batch,
        [done(m, content, batch) for m, content in zip(members, ("same", "same", "other"), strict=True)],
    )
    assert store.upkeep.redo("record", R, ["unknown"]) == {}
    assert store.upkeep.redo("record", "another recipe", ["a"]) == {}
    assert store.upkeep.redo("record", R, ["a"]) == {batch: 2}
    counts = store.states.counts(Scope(R, batch))
    assert (counts["completed"], counts["pending"]) == (1, 2)
    assert [store.reports.summaries_of("record", key) != [] for key in "abc"] == [False, False, True]
    assert store.states.unfinished("record", R, 3) == {batch: 2}
    assert "completed" in [event["event"] for event in store.states.history("record", "a")]


def test_a_purge_takes_one_recipe_and_leaves_the_others(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1"})
    commit(store, source, batch, [done(members[0], "1", batch)])
    store.states.set_states([members[0].version], COMPLETED, Scope("other", batch, "run"))
    store.attempts.note_run(R, [batch], "run")
    store.batch_reports.save_metrics(Scope(R, batch), {"x": 1})
    deleted = store.upkeep.purge(R)
    assert deleted == {
        "dobby_summary": 1, "dobby_state": 1, "dobby_chunk": 1, "dobby_metric": 1, "dobby_attempt": 1, "dobby_recipe": 0,
        "dobby_stall": 0, "dobby_suspect": 0, "dobby_vector": 0, "dobby_vector_batch": 0,
    }  # fmt: skip
    assert store.reports.summaries_of("record", "a") == []
    assert store.states.counts(Scope("other", batch))["completed"] == 1
    assert store.states.counts(Scope(R, batch))["pending"] == 1


def test_a_sound_database_has_no_problems(store: CozoStore) -> None:
    source_with(store, {"a": "1"})
    assert store.check() == []


@pytest.mark.parametrize("content", ["text", "é\0😀\r\n", {"a": [1, None], "b": "x"}, [1, 2.5], 7])
def test_a_commit_stores_the_summary_of_a_content_that_is_still_there(store: CozoStore, content: Content) -> None:
    source, batch, members = batch_of(store, {"k": content})
    assert commit(store, source, batch, [done(members[0], content, batch)]) == set()
    [row] = store.reports.summaries_of("record", "k")
    assert row["text"] == "A good summary."
    assert store.states.counts(Scope(R, batch))["completed"] == 1


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_a_commit_stores_no_summary_of_a_content_that_is_gone(store: CozoStore, change: str) -> None:
    source, batch, members = batch_of(store, {"k": "old", "other": "same"})
    if change == "edit":
        source_with(store, {"k": "new"})
    else:
        store.records.remove(["k"])
    contents = {"k": "old", "other": "same"}
    outcomes = [done(m, contents[m.version.key], batch) for m in members]
    assert commit(store, source, batch, outcomes) == {"k"}
    assert store.reports.summaries_of("record", "k") == []
    assert len(store.reports.summaries_of("record", "other")) == 1
    states = {m.version.key: m.state for m in store.states.members(Scope(R, batch))}
    assert states["k"] is not None
    assert (states["k"].state, states["k"].reason) == (State.SKIPPED, "superseded")


def test_failures_and_skips_are_stored_with_their_reasons(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2"})
    failed = ProcessingState.failed(InferenceError("no luck"), 2)
    outcomes = [Outcome(members[0].version, "1", failed), Outcome(members[1].version, "2", skipped("binary"))]
    commit(store, source, batch, outcomes)
    [row] = store.states.failed("record", R)
    assert (row["key"], row["error"], row["retry_count"], row["retry"]) == ("a", "no luck", 2, "retry")
    assert [event["event"] for event in store.states.history("record", "b")] == ["seen", "skipped"]
    [chunk] = store.batch_reports.chunks(Scope(R, batch))
    assert (chunk["failed"], chunk["skipped"], chunk["last_error"]) == (1, 1, "no luck")


def test_ingested_records_are_touched_only_where_they_changed(store: CozoStore) -> None:
    from dobby_dagster.domain.records import Record

    records = [Record(f"k{i}", f"content {i}", "root", "function", "python") for i in range(5)]
    assert store.records.put_changed(records, "root") == 5
    assert store.records.put_changed(records, "root") == 0
    records[2] = Record("k2", "other", "root", "function", "python")
    assert store.records.put_changed(records, "root") == 1
    assert store.records.keys_of("root").keys() == {f"k{i}" for i in range(5)}
    with pytest.raises(SourceError, match="k0.*is taken by a record of root"):
        store.records.put_changed(records, "another root")


def test_backup_and_restore(database: DatabaseSettings, store: CozoStore, tmp_path: Path) -> None:
    source, batch, members = batch_of(store, {"a": "1"})
    commit(store, source, batch, [done(members[0], "1", batch)])
    path = tmp_path / "backup.db"
    store.backup(path)
    with pytest.raises(StoreAccessError, match="exists already"):
        store.backup(path)
    target = DatabaseSettings(url=f"sqlite:///{tmp_path}/restored.db")
    restore(target, path)
    assert CozoStore.open(target).reports.status("record", R) == store.reports.status("record", R)
    with pytest.raises(StoreAccessError, match="is not empty"):
        restore(target, path)
    with pytest.raises(StoreAccessError, match="there is no backup"):
        restore(target, tmp_path / "nope")
