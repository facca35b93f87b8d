"""The pipeline around an engine: identity, reuse, staleness, failures, claims."""

import itertools
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.defs.event_metadata import metric_metadata, summary_metadata
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.records import Content
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.states import State
from dobby_dagster.inference.engine import ModelInfo
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.planning.record_selection import discard_summaries
from dobby_dagster.pipeline.reporting.batch_metrics import batch_metrics, percentile
from dobby_dagster.pipeline.reporting.export_formats import export_file
from dobby_dagster.pipeline.summarization import summarizer
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, RUN, entries, run
from dobby_dagster_tests.helpers.records import put


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_each_summary_belongs_to_its_own_record_whatever_fails_or_is_shuffled(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chunk_size: int
) -> None:
    from dobby_dagster.domain.settings import DatabaseSettings

    store = CozoStore.open(DatabaseSettings(url=f"mem://property-{seed}-{chunk_size}-{random.random()}"))
    rng = random.Random(seed)
    words = ["", "", "", "FAIL", "EMPTY", "ECHO", "ONCE"]
    rows: dict[str, Content] = {f"k{i}": f"word{rng.randrange(30)} {rng.choice(words)}" for i in range(40)}
    rows |= {"empty": " ", "binary": b"\xff\0", "json": {"a": "word99"}}
    put(store, rows)
    run(store, FakeEngine(seed=seed), chunk_size)
    found = entries(store)
    assert set(found) == set(rows)
    for key, content in rows.items():
        entry, text = found[key], content if isinstance(content, str) else str(content)
        if key in ("empty", "binary"):
            assert (entry["state"], entry["summary"]) == ("skipped", None)
            assert entry["reason"]
        elif any(word in text for word in ("FAIL", "EMPTY", "ECHO")):
            assert (entry["state"], entry["summary"]) == ("failed", None)
            assert entry["error"]
        else:
            assert entry["state"] == "completed"
            assert text.split()[0].strip("{':") in entry["summary"] or key == "json"
    status = store.reports.status("record", RECIPE.id)
    counted = Counter(entry["state"] for entry in found.values())
    assert {state.value: status[state.value] for state in State} == {
        state.value: counted[state.value] for state in State
    }


def test_equal_contents_are_inferred_once_now_and_later(sqlite_store: CozoStore) -> None:
    engine = FakeEngine()
    put(sqlite_store, {f"k{i}": f"word{i % 3}" for i in range(9)})
    run(sqlite_store, engine)
    put(sqlite_store, {"later": "word1"})
    run(sqlite_store, engine)
    assert engine.asked == {"word0": 1, "word1": 1, "word2": 1}
    assert {e["state"] for e in entries(sqlite_store).values()} == {"completed"}
    assert len(entries(sqlite_store)) == 10


def test_exactly_the_edited_and_the_added_are_inferred_next_time(sqlite_store: CozoStore) -> None:
    engine = FakeEngine()
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(12)})
    run(sqlite_store, engine)
    put(sqlite_store, {"k3": "edited", "new": "added"})
    sqlite_store.records.remove(["k5"])
    engine.asked.clear()
    run(sqlite_store, engine)
    assert engine.asked == {"edited": 1, "added": 1}
    run(sqlite_store, engine)
    assert sum(engine.asked.values()) == 2
    assert "k5" not in entries(sqlite_store)
    assert "edited" in entries(sqlite_store)["k3"]["summary"]


def test_an_edit_that_is_taken_back_costs_no_inference(sqlite_store: CozoStore) -> None:
    engine = FakeEngine()
    put(sqlite_store, {"k": "first"})
    run(sqlite_store, engine)
    put(sqlite_store, {"k": "second"})
    run(sqlite_store, engine)
    put(sqlite_store, {"k": "first"})
    run(sqlite_store, engine)
    assert engine.asked == {"first": 1, "second": 1}
    assert "first" in entries(sqlite_store)["k"]["summary"]
    assert len(sqlite_store.reports.summaries_of("record", "k")) == 2


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_a_record_that_changes_under_the_engine_gets_no_stale_summary(sqlite_store: CozoStore, change: str) -> None:
    engine = FakeEngine()
    put(sqlite_store, {"a": "word1", "b": "word2"})

    def meddle(chunk: Chunk) -> None:
        if change == "edit":
            put(sqlite_store, {"a": "changed"})
        else:
            sqlite_store.records.remove(["a"])

    run(sqlite_store, engine, before_commit=meddle)
    assert entries(sqlite_store)["a"]["summary"] is None
    assert "word2" in entries(sqlite_store)["b"]["summary"]
    run(sqlite_store, engine)
    if change == "edit":
        assert "changed" in entries(sqlite_store)["a"]["summary"]
    else:
        assert "a" not in entries(sqlite_store)


def test_a_deleted_record_that_comes_back_is_summarised(sqlite_store: CozoStore) -> None:
    engine = FakeEngine()
    put(sqlite_store, {"a": "word1"})
    source = sqlite_store.source(SourceSettings())
    plan(sqlite_store, source, 10)
    sqlite_store.records.remove(["a"])
    run(sqlite_store, engine)
    assert engine.asked == {}
    put(sqlite_store, {"a": "word1"})
    run(sqlite_store, engine)
    assert engine.asked == {"word1": 1}
    assert sqlite_store.reports.status("record", RECIPE.id)["completed"] == 1


def test_what_may_pass_is_tried_again_and_what_never_will_is_not(sqlite_store: CozoStore) -> None:
    engine = FakeEngine()
    put(sqlite_store, {"once": "ONCE", "fail": "FAIL", "empty": "EMPTY"})
    for _ in range(5):
        run(sqlite_store, engine)
    assert entries(sqlite_store)["once"]["state"] == "completed"
    assert engine.asked == {"ONCE": 2, "FAIL": 6, "EMPTY": 1}
    failed = {row["key"]: row for row in sqlite_store.states.failed("record", RECIPE.id)}
    assert failed["fail"]["retry_count"] == 3
    assert failed["empty"]["error_code"] == "degenerate_output"


def test_an_engine_that_breaks_gives_its_claims_back(sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(8)})
    monkeypatch.setattr(engine, "infer", lambda *a: (_ for _ in ()).throw(SystemError("broken")))
    with pytest.raises(SystemError):
        run(sqlite_store, engine)
    status = sqlite_store.reports.status("record", RECIPE.id)
    assert (status["pending"], status["in_progress"]) == (8, 0)


def test_an_engine_that_forgets_a_request_is_found_out(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(8)})
    infer = engine.infer
    monkeypatch.setattr(engine, "infer", lambda requests, prompt: list(infer(requests, prompt))[:-1])
    with pytest.raises(DobbyError, match="left 1 of 8 requests unanswered"):
        run(sqlite_store, engine)
    assert sqlite_store.reports.status("record", RECIPE.id)["in_progress"] == 0


def test_two_runs_of_one_batch_share_it_without_doubling(sqlite_store: CozoStore) -> None:
    first, second = FakeEngine(), FakeEngine()
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(20)})
    run(sqlite_store, first, chunk_size=7, before_commit=lambda chunk: run(sqlite_store, second, chunk_size=3))
    asked = first.asked | second.asked
    assert sum(first.asked.values()) + sum(second.asked.values()) == len(asked) == 20
    assert second.asked
    assert sqlite_store.reports.status("record", RECIPE.id)["completed"] == 20


def test_metrics_follow_from_what_is_stored(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {**{f"k{i}": f"word{i}" for i in range(8)}, "bad": "FAIL", "none": ""})
    run(sqlite_store, FakeEngine())
    values = batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001"))
    assert (values["records"], values["records_completed"], values["records_failed"], values["records_skipped"]) == (
        10,
        8,
        1,
        1,
    )
    assert values["records_inferred"] == 8
    assert values["error_rate"] == 0.1
    assert values["last_error"] == "told to fail"
    assert values["confidence_mean"] == pytest.approx(0.6065, abs=1e-3)
    assert values["latency_p50_seconds"] <= values["latency_p95_seconds"] <= values["latency_p99_seconds"]
    assert values["memory_bytes"] > 10_000_000
    assert values["slots"] == 4
    assert batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001")) == values


def test_loading_the_model_is_no_part_of_a_chunks_time(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(summarizer.time, "monotonic", lambda: now[0])
    engine = FakeEngine()
    load, answer = engine.load, engine._answer

    def slow_load() -> ModelInfo:
        now[0] += 0.0 if engine._loaded else 100.0
        return load()

    def slow_answer(*request: Any) -> Any:
        now[0] += 0.5
        return answer(*request)

    monkeypatch.setattr(engine, "load", slow_load)
    monkeypatch.setattr(engine, "_answer", slow_answer)
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(8)} | {"none": ""})
    run(sqlite_store, engine)
    values = batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001"))
    assert values["busy_seconds"] == pytest.approx(4.0)
    assert values["records_per_second"] == pytest.approx(2.0)
    assert values["device"] == "cpu"


def test_a_clock_that_is_set_back_makes_no_counter_fall(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, calls = time.time, itertools.count()
    monkeypatch.setattr(summarizer.time, "time", lambda: clock() - 3.0 * next(calls))
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(8)})
    run(sqlite_store, FakeEngine(), chunk_size=2)
    totals = sqlite_store.totals.read()
    assert 0 < totals["busy_seconds"][""] < 60
    assert 0 <= totals["slot_seconds"][""] < 60 * 64
    values = batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001"))
    assert 0 <= values["cpu_cores"] < 100


def test_what_is_unknown_is_stored_and_shown_as_unknown_and_left_out_of_means(
    sqlite_store: CozoStore, tmp_path: Path
) -> None:
    put(sqlite_store, {"a": "word1 UNSURE", "b": "word2", "c": "word3 LONG"})
    run(sqlite_store, FakeEngine())
    found = entries(sqlite_store)
    unknown = ("confidence", "mean_logprob", "min_logprob", "prompt_tokens", "output_tokens")
    assert [found["a"][name] for name in unknown] == [None] * 5
    assert {key: entry["finish_reason"] for key, entry in found.items()} == {"a": "unknown", "b": "stop", "c": "length"}
    values = batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001"))
    assert values["confidence_mean"] == pytest.approx(0.6065)
    assert (values["confidence_unknown"], values["summaries_cut_off"], values["output_tokens"]) == (1, 1, 10)
    for name in ("a.jsonl", "a.csv", "a.md", "a.parquet"):
        export_file(sqlite_store.reports.entries("record", RECIPE.id), tmp_path / name)
        assert name.endswith("parquet") or "nan" not in (tmp_path / name).read_text().lower()
    assert "*confidence unknown, fake*" in (tmp_path / "a.md").read_text()
    assert pq.read_table(tmp_path / "a.parquet")["confidence"].to_pylist() == [None, 0.6065, 0.6065]
    metadata, _ = summary_metadata(
        sqlite_store, sqlite_store.source(SourceSettings()), Scope(RECIPE.id, "batch-000001"), 1.0
    )
    assert metadata["confidence_mean"] == 0.6065
    assert "| `a` |  | It says word1 UNSURE indeed. | unknown |" in metadata["samples"].value
    assert discard_summaries(sqlite_store, "record", RECIPE.id, confidence_below=0.9) == {"batch-000001": 2}, (
        "unknown is not low"
    )


def test_a_mean_of_nothing_known_is_unknown_and_in_no_plot(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1 UNSURE"})
    run(sqlite_store, FakeEngine())
    values = batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001"))
    unknown = {"confidence_mean", "prompt_tokens_mean", "output_tokens_mean", "output_tokens", "queue_mean_seconds"}
    assert {name for name, value in values.items() if value is None} == unknown
    assert not unknown & metric_metadata(values).keys()
    assert (
        not unknown
        & summary_metadata(sqlite_store, sqlite_store.source(SourceSettings()), Scope(RECIPE.id, "batch-000001"), 1.0)[
            0
        ].keys()
    )
    sqlite_store.batch_reports.save_metrics(Scope(RECIPE.id, "batch-000001"), values)
    assert sqlite_store.batch_reports.metrics()[0]["values"] == values
    assert discard_summaries(sqlite_store, "record", RECIPE.id, prefix="a") == {"batch-000001": 1}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_with_enough_at_or_below(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert percentile([], share) == 0.0


def test_work_is_read_a_window_at_a_time(sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(slots=2)
    put(sqlite_store, {f"k{i:02d}": f"word{i}" for i in range(36)})
    source = sqlite_store.source(SourceSettings())
    [batch] = plan(sqlite_store, source, 50).batches
    scope = Scope(RECIPE.id, batch.id, RUN)
    members = sqlite_store.states.members(scope)
    read: list[int] = []
    get = type(source).get
    monkeypatch.setattr(type(source), "get", lambda self, keys: read.append(len(keys)) or get(self, keys))
    with Summarizer(sqlite_store, source, engine, PROMPT, RECIPE, chunk_size=3) as summarizer:
        stream = summarizer.summarize(members, scope)
        assert len(next(stream).outcomes) == 3
        assert read == [8], "two slots take eight records at once"
        assert sum(engine.asked.values()) <= 6
        assert [len(next(stream).outcomes) for _ in range(2)] == [3, 2]
        assert read == [8]
        next(stream)
        assert read == [8, 8]
        assert [owner.scope.run for owner in sqlite_store.claims.owners()] == [RUN]
    assert sqlite_store.claims.owners() == []
    assert sqlite_store.states.counts(scope)["pending"] == 36, "what was not committed is released"
