"""What every store does, whichever engine is behind it: sqlite, rocksdb, mem, and a server over HTTP."""

import time
from collections import Counter
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import InferenceError, SourceError, StoreAccessError, StoreError
from dobby_dagster.domain.records import Content, RecordVersion
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.states import COMPLETED, PENDING, ProcessingState, State, skipped
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunks import Chunk, ChunkStats, Outcome
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


def test_batches_take_the_highest_priority_first_and_each_version_once(store: CozoStore) -> None:
    source = source_with(store, {})
    versions = [RecordVersion("record", f"k{i}", "h", priority=i % 3, size=1) for i in range(10)]
    store.versions.note(source, versions, [])
    assert store.versions.waiting("record") == 10
    batches = []
    while batch := store.versions.cut_batch("record", 4):
        batches.append(batch)
    members = [m.version for b in batches for m in store.states.members(Scope(R, b.id))]
    assert [b.members for b in batches] == [4, 4, 2]
    assert [m.priority for m in members] == sorted((m.priority for m in members), reverse=True)
    assert Counter(m.key for m in members) == Counter(f"k{i}" for i in range(10))
    assert [b.id for b in store.versions.batches()] == ["batch-000001", "batch-000002", "batch-000003"]


def test_a_version_that_changes_again_waits_once(store: CozoStore) -> None:
    source = source_with(store, {})
    for number, priority in enumerate((0, 5, 2)):
        store.versions.note(source, [RecordVersion("record", "k", f"h{number}", priority, 1)], [])
    assert store.versions.waiting("record") == 1
    batch = store.versions.cut_batch("record", 10)
    assert batch is not None
    assert [m.version.content_hash for m in store.states.members(Scope(R, batch.id))] == ["h2"]


def test_a_deleted_record_no_longer_waits(store: CozoStore) -> None:
    source = source_with(store, {})
    store.versions.note(source, [RecordVersion("record", "k", "h", 0, 1)], [])
    store.versions.note(source, [], ["k"])
    assert store.versions.waiting("record") == 0
    assert store.versions.known(source, ["k", "other"])["k"].deleted
    status = store.reports.status("record", R)
    assert (status["records"], status["deleted"], status["skipped"]) == (0, 1, 0)


def test_a_claim_has_one_winner(store: CozoStore) -> None:
    _, batch, members = batch_of(store, {"a": "1", "b": "2"})
    first = store.claims.claim(members, "me", Scope(R, batch, "run"))
    second = store.claims.claim(members, "you", Scope(R, batch, "run"))
    assert first == {(m.version.key, m.version.content_hash) for m in members}
    assert second == set()


def test_a_dead_owners_claim_can_be_taken_once(store: CozoStore) -> None:
    _, batch, members = batch_of(store, {"a": "1"})
    store.claims.claim(members, "dead", Scope(R, batch, "run"))
    seen = store.states.members(Scope(R, batch))
    assert len(store.claims.claim(seen, "heir", Scope(R, batch, "run"))) == 1
    assert store.claims.claim(seen, "second heir", Scope(R, batch, "run")) == set()


def test_release_returns_what_was_started(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2"})
    store.claims.claim(members, "me", Scope(R, batch, "run"))
    commit(store, source, batch, [done(members[0], "1", batch)])
    assert store.claims.release("me", Scope(R, batch)) == 1
    assert store.states.counts(Scope(R, batch)) == {
        "members": 2, "completed": 1, "pending": 1, "in_progress": 0, "failed": 0, "skipped": 0,
    }  # fmt: skip


def test_release_leaves_alone_what_another_has_taken_over(store: CozoStore) -> None:
    _, batch, members = batch_of(store, {"a": "1", "b": "2"})
    store.claims.claim(members, "dead", Scope(R, batch, "run"))
    seen = store.states.members(Scope(R, batch))
    store.claims.claim(seen[:1], "heir", Scope(R, batch, "run"))
    assert {owner.owner for owner in store.claims.owners()} == {"dead", "heir"}
    assert store.claims.release("dead", Scope(R, batch)) == 1
    states = {
        m.version.key: (m.state.state.value, m.state.owner) for m in store.states.members(Scope(R, batch)) if m.state
    }
    assert states == {"a": ("in_progress", "heir"), "b": ("pending", "")}
    assert [owner.owner for owner in store.claims.owners()] == ["heir"]
    assert store.claims.release("dead", Scope(R, batch)) == 0


def test_what_is_newest_stays_newest_when_the_clock_is_set_back(store: CozoStore) -> None:
    """The database's own clock stands an hour in the future, as after the machine's was set back by one."""
    _, batch, members = batch_of(store, {"a": "1"})
    ahead = int((time.time() + 3_600) * 1e6)
    store.connection.run("?[name, at] <- [['clock', $at]] :put dobby_clock {name => at}", {"at": ahead}, write=True)
    for owner in ("first", "second"):
        seen = store.states.members(Scope(R, batch))
        assert len(store.claims.claim(seen, owner, Scope(R, batch, "run"))) == 1
        store.claims.release(owner, Scope(R, batch))
    source_with(store, {"a": "changed"})
    batch_2 = plan(store, store.source(SourceSettings()), 10).batches[0].id
    assert store.states.counts(Scope(R, batch))["pending"] == 1
    store.states.set_states([members[0].version], COMPLETED, Scope(R, batch, "run"))
    assert store.states.counts(Scope(R, batch))["completed"] == 1
    assert store.states.counts(Scope(R, batch_2))["pending"] == 1
    states = [event["event"] for event in store.states.history("record", "a")]
    assert states == ["seen", "in_progress", "pending", "in_progress", "pending", "seen", "completed"]


def test_attempts_count_until_a_chunk_is_committed(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2"})
    assert store.attempts.batches("record", R) == []
    store.attempts.note_request(R, [batch])
    assert store.attempts.batches("record", R) == [batch]
    assert store.attempts.batches("other", R) == store.attempts.batches("record", "other") == []
    assert len(store.attempts.failed(Scope(R, batch))) == 1
    store.attempts.note_run(R, [batch], "run-1")
    assert len(store.attempts.failed(Scope(R, batch))) == 1, "the requested run has started"
    store.attempts.note_run(R, [batch], "run-2")
    assert len(store.attempts.failed(Scope(R, batch))) == 2
    now = time.time()
    store.chunks.commit(source, Chunk([done(members[0], "1", batch)], ChunkStats(now, now)), Scope(R, batch, "run-2"))
    assert store.attempts.failed(Scope(R, batch)) == []
    assert store.attempts.batches("record", R) == [batch]
    store.attempts.note_run(R, [batch], "run-3")
    assert len(store.attempts.failed(Scope(R, batch))) == 1
    store.chunks.commit(source, Chunk([], ChunkStats(1.0, 2.0)), Scope(R, "another batch", "run-3"))
    assert store.attempts.failed(Scope(R, batch)) == [], "what ended run-3 was no fault of this batch's"
    store.attempts.forget(R, [batch])
    assert store.attempts.batches("record", R) == []


def test_batches_after_a_given_one_are_read(store: CozoStore) -> None:
    source_with(store, {f"k{i}": str(i) for i in range(7)})
    plan(store, store.source(SourceSettings()), 2)
    ids = [batch.id for batch in store.versions.batches()]
    assert len(ids) == 4
    assert [batch.id for batch in store.versions.batches(after=ids[1])] == ids[2:]
    assert [batch.id for batch in store.versions.batches(after=ids[0], limit=2)] == ids[1:3]
    assert store.versions.batches("other") == []
    assert store.states.unfinished("record", R, 3, ids[2:]) == {ids[2]: 2, ids[3]: 1}
    assert store.states.unfinished("record", R, 3, []) == {}


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


def test_unfinished_batches_are_those_with_records_left(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3", "d": "4"})
    assert store.states.unfinished("record", R, 3) == {batch: 4}
    failed = ProcessingState.failed(InferenceError("x"), 1)
    outcomes = [
        done(members[0], "1", batch), Outcome(members[1].version, "2", skipped("empty content")),
        Outcome(members[2].version, "3", failed), Outcome(members[3].version, None, skipped("deleted")),
    ]  # fmt: skip
    store.records.remove(["d"])
    commit(store, source, batch, outcomes)
    assert store.states.unfinished("record", R, 3) == {batch: 1}
    assert store.states.unfinished("record", R, 1) == {}
    assert store.states.unfinished("record", "another recipe", 3) == {batch: 4}


def test_a_stored_summary_is_found_by_its_fingerprint(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1"})
    outcome = done(members[0], "1", batch)
    commit(store, source, batch, [outcome])
    assert outcome.summary is not None
    found = store.chunks.find([outcome.summary.fingerprint, "none"])
    assert list(found) == [outcome.summary.fingerprint]


def test_history_tells_every_step(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1"})
    store.states.set_states([members[0].version], PENDING, Scope(R, batch, "run"))
    store.claims.claim(store.states.members(Scope(R, batch)), "me", Scope(R, batch, "run"))
    commit(store, source, batch, [done(members[0], "1", batch)])
    store.versions.note(source, [], ["a"])
    events = store.states.history("record", "a")
    assert [event["event"] for event in events] == ["seen", "pending", "in_progress", "completed", "deleted"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_status_counts_every_record_in_one_state(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3"})
    commit(store, source, batch, [done(members[0], "1", batch)])
    store.versions.note(source, [RecordVersion("record", "d", "h")], ["c"])
    status = store.reports.status("record", R)
    assert status == {
        "records": 3, "batches": 1, "pending": 2, "in_progress": 0, "completed": 1, "failed": 0, "skipped": 0,
        "deleted": 1, "summaries": 1,
    }  # fmt: skip


def test_an_overview_accounts_for_every_row_of_the_source(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3"})
    commit(store, source, batch, [done(m, {"a": "1", "b": "2", "c": "3"}[m.version.key], batch) for m in members[:2]])
    source_with(store, {"new": "not planned", "newer": "nor this"})
    store.records.remove(["a"])
    found = store.reports.overview(source, R)
    assert found == {
        "rows": 4, "unplanned": 2, "records": 2, "batches": 1, "pending": 1, "in_progress": 0, "completed": 1,
        "failed": 0, "skipped": 0, "deleted": 1, "summaries": 2,
    }  # fmt: skip
    assert found["rows"] == source.count()
    assert store.reports.overview(source, "another")["completed"] == 0


def test_rows_tell_what_the_source_holds_now(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3"})
    commit(store, source, batch, [done(m, {"a": "1", "b": "2", "c": "3"}[m.version.key], batch) for m in members])
    source_with(store, {"b": "edited", "new": "not planned"})
    store.records.remove(["a"])
    rows = {row["key"]: row for row in store.reports.rows(source, R, page=2)}
    told = {key: (row["state"], row["summary"], row["content"]) for key, row in rows.items()}
    assert told == {
        "b": ("pending", None, "edited"),
        "c": ("completed", "A good summary.", "3"),
        "new": ("pending", None, "not planned"),
    }
    assert (rows["c"]["content_type"], rows["c"]["metadata"], rows["c"]["size"]) == ("text", {}, 1)


def test_the_current_summary_comes_first_and_former_ones_say_why(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "first"})
    commit(store, source, batch, [done(members[0], "first", batch, "Of the first.")])
    source_with(store, {"a": "second"})
    plan(store, source, 10)
    [edited] = store.states.members(Scope(R, "batch-000002"))
    commit(store, source, "batch-000002", [done(edited, "second", "batch-000002", "Of the second.")])

    def told(recipe: str = R) -> list[tuple[str, str]]:
        return [(row["text"], row["former"]) for row in store.reports.summaries_of("record", "a", recipe)]

    assert told() == [("Of the second.", ""), ("Of the first.", "content")]
    source_with(store, {"a": "first"})
    plan(store, source, 10)
    assert told() == [("Of the first.", ""), ("Of the second.", "content")]
    assert told("another") == [("Of the first.", "recipe"), ("Of the second.", "content")]
    state = store.reports.state_of("record", "a", R)
    assert state is not None
    assert (state["state"], state["summary"]) == ("completed", "Of the first.")
    store.records.remove(["a"])
    plan(store, source, 10)
    assert {former for _, former in told()} == {"deleted"}
    state = store.reports.state_of("record", "a", R)
    assert state is not None
    assert (state["state"], state["summary"]) == ("deleted", None)
    assert store.reports.state_of("record", "never seen", R) is None


def test_entries_hold_every_record_under_its_own_key(store: CozoStore) -> None:
    rows = {"": "no key", **{f"k{i:02d}": str(i) for i in range(23)}}
    source, batch, members = batch_of(store, rows)
    commit(store, source, batch, [done(m, rows[m.version.key], batch, f"about {m.version.key}") for m in members[1:]])
    entries = {entry["key"]: entry for entry in store.reports.entries("record", R, page=5)}
    assert sorted(entries) == sorted(rows)
    assert all(entry["summary"] in (None, f"about {key}") for key, entry in entries.items())
    assert Counter(entry["state"] for entry in entries.values()) == {"completed": 23, "pending": 1}


def test_metrics_are_kept_by_batch_and_recipe(store: CozoStore) -> None:
    store.batch_reports.save_metrics(Scope(R, "b1"), {"x": 1.5})
    store.batch_reports.save_metrics(Scope(R, "b1"), {"x": 2.5})
    store.batch_reports.save_metrics(Scope(R, "b2"), {"x": 3})
    assert [row["values"] for row in store.batch_reports.metrics("b1")] == [{"x": 2.5}]
    assert len(store.batch_reports.metrics()) == 2


def test_ingested_records_are_touched_only_where_they_changed(store: CozoStore) -> None:
    from dobby_dagster.domain.records import Record

    records = [Record(f"k{i}", f"content {i}", "root", "function", "python") for i in range(5)]
    assert store.records.put_changed(records, "root") == 5
    assert store.records.put_changed(records, "root") == 0
    records[2] = Record("k2", "other", "root", "function", "python")
    assert store.records.put_changed(records, "root") == 1
    assert store.records.keys_of("root") == {f"k{i}" for i in range(5)}
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


def test_two_planners_at_once_cut_each_version_into_one_batch(database: DatabaseSettings, store: CozoStore) -> None:
    import threading

    source = source_with(store, {})
    versions = [RecordVersion("record", f"k{i:03d}", "h", 0, 1) for i in range(60)]
    store.versions.note(source, versions, [])
    stores = [CozoStore.open(database) for _ in range(3)]
    errors: list[BaseException] = []

    def cut(mine: CozoStore) -> None:
        try:
            while mine.versions.cut_batch("record", 5):
                pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=cut, args=(mine,)) for mine in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    members = [m.version.key for b in store.versions.batches() for m in store.states.members(Scope(R, b.id))]
    assert sorted(members) == [v.key for v in versions]
    assert store.versions.waiting("record") == 0


def test_looking_at_a_batch_reads_no_other_batch(store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2"})
    commit(store, source, batch, [done(member, {"a": "1", "b": "2"}[member.version.key]) for member in members])
    asked: list[tuple[str, dict[str, object]]] = []
    run = store.connection.run
    monkeypatch.setattr(
        store.connection, "run", lambda query, params: asked.append((query, params)) or run(query, params)
    )
    assert {row["key"] for row in store.batch_reports.summaries(Scope(R, batch))} == {"a", "b"}
    assert [row["output_tokens"] for row in store.batch_reports.outputs(Scope(R, batch))] == [5, 5]
    assert store.batch_reports.summaries(Scope("another recipe", batch)) == []
    assert store.batch_reports.errors(Scope(R, batch)) == []
    assert len(store.states.members(Scope(R, batch))) == 2
    assert len(store.reports.summaries_of("record", "a", R)) == 1
    assert len(asked) >= 5
    for query, params in asked:
        steps = [row[4] for row in run("::explain { " + query + " }", params).rows]
        assert "stored_prefix_join" in steps, query
        assert "stored_mat_join" not in steps, query  # a whole relation, to be joined in memory
