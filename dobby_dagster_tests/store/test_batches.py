"""How records are cut into batches, claimed and released, whichever engine is behind the store."""

import time
from collections import Counter

import pytest

from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.states import ProcessingState, skipped
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk, ChunkStats, Outcome
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done, source_with


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
