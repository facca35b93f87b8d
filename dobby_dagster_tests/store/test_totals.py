"""The counters: what was committed is in them, once, and no clean-up takes it out again."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import connect
from dobby_dagster.store.ledger.chunk import Outcome
from dobby_dagster.store.ledger.relations import CHUNK
from dobby_dagster.store.ledger.schema import migrate
from dobby_dagster.store.source.source_relation import Source
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, entries, run
from dobby_dagster_tests.helpers.records import put

CONTENTS = {"good": "a b", "again": "a b", "bad": "FAIL", "nothing": "  ", "edited": "old", "other": "c d"}


def chunk_counts(store: CozoStore) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in store.connection.run(f"{CHUNK.head} := {CHUNK.stored}").dicts():
        counts.update({name: row[name] for name in ("completed", "failed", "skipped", "inferred")})
    return dict(counts)


def edit(store: CozoStore) -> None:
    put(store, {"edited": "new"})


def test_each_outcome_is_counted_once_as_what_it_came_to(store: CozoStore) -> None:
    put(store, CONTENTS)
    run(store, FakeEngine(), chunk_size=20, before_commit=lambda chunk: edit(store))
    totals = store.totals.read()
    assert totals["records"] == {"completed": 3, "failed": 1, "skipped": 2}, "one empty, one superseded"
    assert totals["errors"] == {"inference": 1}
    assert totals["inferred"] == {"": 3}, "equal contents are inferred once, superseded ones too"
    assert totals["tokens"] == {"prompt": 30, "output": 15}
    assert chunk_counts(store) == {"completed": 3, "failed": 1, "skipped": 2, "inferred": 3}


def test_durations_are_in_their_buckets(any_store: CozoStore) -> None:
    put(any_store, {"k": "a b", "l": "c d"})
    run(any_store, FakeEngine())
    totals = any_store.totals.read()
    assert totals["record_seconds"] == {"0.001": 2, "sum": pytest.approx(0.002)}
    assert totals["request_seconds"] == {"0.0025": 2, "sum": pytest.approx(0.004)}
    assert totals["queue_seconds"] == {"0.025": 2, "sum": pytest.approx(0.04)}
    assert totals["busy_seconds"][""] >= totals["slot_seconds"][""] / 4 > 0


def test_the_wait_of_a_run_for_the_device_is_counted_once(store: CozoStore) -> None:
    for _ in range(2):  # as when the answer of a server was lost
        store.activity.note_device_wait(RunId("first"), 2.0)
    store.activity.note_device_wait(RunId("second"), 0.0)
    assert store.totals.read()["device_wait"] == {"sum": 2.0, "count": 2}
    assert [store.activity.device_wait(RunId(run)) for run in ("first", "second", "third")] == [2.0, 0.0, None]
    store.upkeep.compact(time.time() + 60)
    assert store.activity.device_wait(RunId("first")) is None
    assert store.totals.read()["device_wait"] == {"sum": 2.0, "count": 2}


def test_tokens_that_an_engine_does_not_count_are_unknown(any_store: CozoStore) -> None:
    put(any_store, {"k": "UNSURE"})
    run(any_store, FakeEngine())
    [row] = any_store.connection.run(f"{CHUNK.head} := {CHUNK.stored}").dicts()
    assert (row["prompt_tokens"], row["output_tokens"]) == (None, None)
    assert row["queue_seconds"] is None
    assert not {"tokens", "queue_seconds"} & any_store.totals.read().keys()


def test_counters_never_fall(any_store: CozoStore) -> None:
    put(any_store, CONTENTS)
    run(any_store, FakeEngine())
    before = any_store.totals.read()
    any_store.upkeep.purge(RECIPE.id)
    assert entries(any_store)["good"]["state"] == "pending"
    assert any_store.totals.read() == before
    run(any_store, FakeEngine())
    after = any_store.totals.read()
    assert all(after[name][label] >= value for name, labels in before.items() for label, value in labels.items())
    assert after["records"]["completed"] == 2 * before["records"]["completed"]


def test_a_chunk_that_is_committed_record_by_record_is_counted_once(
    any_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = any_store
    put(store, CONTENTS)
    commit = store.chunks._commit

    def refuse_many(source: Source, outcomes: Sequence[Outcome], *rest: Any) -> set[str]:
        if len(outcomes) > 1:
            raise StoreError("refused")
        return commit(source, outcomes, *rest)

    monkeypatch.setattr(store.chunks, "_commit", refuse_many)
    run(store, FakeEngine(), chunk_size=20, before_commit=lambda chunk: edit(store))
    assert store.totals.read()["records"] == {"completed": 3, "failed": 1, "skipped": 2}
    assert store.totals.read()["inferred"] == {"": 3}
    assert chunk_counts(store) == {"completed": 3, "failed": 1, "skipped": 2, "inferred": 3}


def test_an_older_database_begins_with_what_it_knows(sqlite_url: str) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection, 4)
    connection.run(
        """?[batch, recipe, chunk, run, started_at, finished_at, completed, inferred, failed, skipped, latencies, rss_bytes,
            cpu_share, slots, slots_in_use, last_error] <-
            [['b', 'r', 'c1', 'run', 1.0, 3.0, 5, 4, 1, 0, [0.1], 1, 1.0, 4, 2.0, ''],
             ['b', 'r', 'c2', 'run', 3.0, 4.0, 5, 5, 0, 2, [0.1], 1, 1.0, 4, 2.0, '']]
        :put dobby_chunk {batch, recipe, chunk => run, started_at, finished_at, completed, inferred, failed, skipped,
            latencies, rss_bytes, cpu_share, slots, slots_in_use, last_error}""",
        write=True,
    )
    connection.run(
        """?[source, key, content_hash, recipe, at, state, error, error_code, retry, retry_count, reason, owner, batch, run,
            since] <- [['s', 'k', 'h', 'r', 'ASSERT', 'failed', 'e', 'inference', 'retry', 1, '', '', 'b', 'run', 1.0],
                       ['s', 'l', 'h', 'r', 'ASSERT', 'failed', 'e', 'inference', 'retry', 1, '', '', 'b', 'run', 1.0]]
        :put dobby_state {source, key, content_hash, recipe, at => state, error, error_code, retry, retry_count, reason,
            owner, batch, run, since}""",
        write=True,
    )
    totals = CozoStore(connection).totals.read()
    assert totals["records"] == {"completed": 10, "failed": 1, "skipped": 2}
    assert totals["inferred"] == {"": 9}
    assert totals["busy_seconds"] == {"": 3}
    assert totals["errors"] == {"inference": 2}
