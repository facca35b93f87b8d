"""How far a run is, from what it committed: exact counts, rates, and a time left that is right."""

import random
import time

import pytest

from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.pipeline.monitoring.progress_reader import ProgressReader, Recent, Remaining, RunHistory
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, RUN, run
from dobby_dagster_tests.helpers.records import put


def chunk(start: float, finish: float, completed: int = 10, **others: object) -> dict[str, object]:
    row = {"failed": 0, "skipped": 0, "inferred": completed, "slots": 8, "slots_in_use": 4.0, "rss_bytes": 1}
    row |= {
        "cpu_share": 1.0,
        "last_error": "",
        "output_tokens": 50,
        "queue_seconds": None,
        "chunk": f"{start:.6f}",
        "completed": completed,
    }
    return row | {"started_at": start, "finished_at": finish} | others


def history(*chunks: dict[str, object]) -> RunHistory:
    found = RunHistory()
    for row in chunks:
        found.add(row)
    return found


def test_nothing_is_known_before_the_first_chunk() -> None:
    empty = RunHistory()
    assert (empty.records, empty.per_minute(), empty.time_left(10)) == (0, 0.0, None)
    assert (empty.slots, empty.slots_in_use(), empty.memory_bytes) == (None, None, None)


def test_one_chunk_gives_a_time_left_without_a_margin() -> None:
    assert history(chunk(0, 2)).time_left(20) == Remaining(4.0, None)
    two = history(chunk(0, 2), chunk(2, 5)).time_left(20)
    assert two is not None
    assert two.margin is not None
    assert two.margin > 0


def test_rates_are_of_the_last_ten_seconds_and_of_the_whole_run() -> None:
    found = history(*(chunk(t, t + 1.0, 5 if t < 50 else 20) for t in range(60)))
    assert found.per_minute() == (50 * 5 + 10 * 20) / 60 * 60
    assert found.recent(60.0) == Recent(per_minute=10 * 20 / 10 * 60, tokens_per_second=50.0, cpu_cores=1.0)
    assert found.recent(200.0) == Recent(0.0, 0.0, None)


def test_slots_in_use_are_weighted_by_time() -> None:
    assert history(chunk(0, 9, slots_in_use=2.0), chunk(9, 10, slots_in_use=12.0)).slots_in_use() == 3.0


def test_waits_for_a_slot_are_weighted_by_records() -> None:
    assert history(chunk(0, 9)).queue_seconds() is None
    waits = [chunk(0, 1, 30, queue_seconds=1.0), chunk(1, 2, 10, queue_seconds=5.0), chunk(2, 3)]
    assert history(*waits).queue_seconds() == 2.0


def test_unknown_tokens_stay_unknown() -> None:
    assert history(chunk(0, 1, output_tokens=None)).recent(1.0).tokens_per_second is None
    assert history(chunk(0, 1, output_tokens=30), chunk(1, 2)).recent(2.0).tokens_per_second == 40.0


def test_the_time_of_commits_counts_for_the_time_left() -> None:
    found = history(*(chunk(t, t + 1.0) for t in range(0, 60, 2)))
    left = found.time_left(100)
    assert left is not None
    assert left.seconds == pytest.approx(20.0, rel=0.05)


def test_the_last_error_stays_until_there_is_another() -> None:
    assert history(chunk(0, 1, last_error="too long"), chunk(1, 2)).last_error == "too long"


@pytest.mark.parametrize("seen", [2, 4, 20])
def test_the_interval_holds_the_true_time_left_as_often_as_it_says(seen: int) -> None:
    """Over many runs of random pace."""
    rng, runs, hits = random.Random(seen), 1_000, 0
    for _ in range(runs):
        paces = [rng.gammavariate(9, 1 / 9) for _ in range(seen + 40)]
        found, at = RunHistory(), 0.0
        for pace in paces[:seen]:
            found.add(chunk(at, at + pace))
            at += pace
        left = found.time_left(400)
        assert left is not None
        assert left.margin is not None
        hits += abs(sum(paces[seen:]) - left.seconds) <= left.margin
    assert 0.92 < hits / runs < 0.98


def test_a_run_that_works_is_followed_chunk_by_chunk(sqlite_store: CozoStore) -> None:
    store = sqlite_store
    put(
        store,
        {f"k{i:02d}": f"word{i} {'FAIL' if i == 7 else 'EMPTY' if i == 9 else ''}" for i in range(40)} | {"empty": " "},
    )
    source = store.source(SourceSettings())
    [batch] = plan(store, source, 100).batches
    scope = Scope(RECIPE.id, batch.id, RUN)
    reader = ProgressReader(store, 3)
    assert reader.read() == []
    store.attempts.note_run(RECIPE.id, [batch.id], RUN)
    with Summarizer(store, source, FakeEngine(), PROMPT, RECIPE, chunk_size=8) as summarizer:
        settled = 0
        for made in summarizer.summarize(store.states.members(scope), scope):
            store.chunks.commit(source, made, scope)
            settled += len(made.outcomes)
            [seen] = reader.read()
            assert seen.running
            assert (seen.run, list(seen.batches), seen.total) == (RUN, [batch.id], 41)
            assert seen.completed + seen.failed + seen.skipped == settled
            assert seen.remaining == 41 - settled
            assert seen.since_commit is not None
            assert 0 <= seen.since_commit < 60
            [late] = ProgressReader(store, 3).read()
            assert (late.total, late.remaining) == (41, 41 - settled), "one that begins in the middle says the same"
    [last] = reader.read()
    assert not last.running
    assert last.left is None
    assert (last.completed, last.failed, last.skipped, last.remaining) == (38, 2, 1, 0)


def test_without_a_run_the_last_one_is_shown(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(9)})
    run(sqlite_store, FakeEngine(), chunk_size=4)
    [last] = ProgressReader(sqlite_store, 3).read()
    assert (last.running, last.completed, last.total, last.remaining) == (False, 9, 9, 0)
    assert last.per_minute > 0
    assert last.since_commit is not None
    assert last.since_commit < time.time()


def test_the_last_run_is_looked_for_only_after_a_commit(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sqlite_store, {"a": "one"})
    run(sqlite_store, FakeEngine())
    latest, calls = sqlite_store.activity.latest_run, list[int]()
    monkeypatch.setattr(sqlite_store.activity, "latest_run", lambda: calls.append(1) or latest())
    reader = ProgressReader(sqlite_store, 3)
    assert [reader.read()[0].completed for _ in range(3)] == [1, 1, 1]
    assert len(calls) == 1, "it reads every chunk"
    put(sqlite_store, {"b": "two"})
    run(sqlite_store, FakeEngine())
    assert reader.read()[0].completed == 2
    assert len(calls) == 2
