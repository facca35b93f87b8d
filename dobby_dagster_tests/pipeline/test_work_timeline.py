"""The timeline of a report: pauses are left out, no record is lost, unknown stays unknown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.pipeline.reporting.work_timeline import BUCKETS, WorkTimeline, work_timeline


def chunk(started_at: float, seconds: float, latencies: list[float], run: str = "run", **others: float) -> dict:
    found = {"completed": len(latencies), "failed": 0, "skipped": 0, "rss_bytes": 1_000, "cpu_share": 2.0, "slots": 8}
    return {
        "run": run, "started_at": started_at, "finished_at": started_at + seconds, "inferred": len(latencies),
        "latencies": latencies, "slots_in_use": 4.0, "prompt_tokens": 10, "output_tokens": None, **found, **others,
    }  # fmt: skip


def total(timeline: WorkTimeline) -> float:
    return float((timeline.rate * np.diff(timeline.edges)).sum())


def test_nothing_is_an_empty_timeline() -> None:
    timeline = work_timeline([])
    assert (timeline.seconds, timeline.inferred, timeline.started_at, timeline.slots) == (0.0, 0, None, None)
    assert len(timeline.rate) == len(timeline.edges) == 0


def test_one_chunk_without_duration() -> None:
    timeline = work_timeline([[chunk(100.0, 0.0, [0.5])]])
    assert len(timeline.rate) == 1
    assert timeline.latency_p50[0] == 0.5


def test_speed_in_tokens_is_unknown_where_a_chunk_has_not_counted_them() -> None:
    timeline = work_timeline([[chunk(0.0, 5, [0.1]), chunk(5.0, 5, [0.1], output_tokens=7)]])
    assert (timeline.prompt_tokens_per_second, timeline.output_tokens_per_second) == (2.0, None)


def test_a_pause_is_left_out_and_marked() -> None:
    timeline = work_timeline([[chunk(1_000.0, 10, [0.1] * 20), chunk(90_000.0, 10, [0.1] * 20)]])
    assert timeline.seconds == 20
    assert timeline.pauses.tolist() == [10.0]
    assert timeline.rate == pytest.approx([2.0, 2.0])
    assert (timeline.started_at, timeline.finished_at) == (1_000.0, 90_010.0)


def test_a_short_gap_counts_as_working_time() -> None:
    timeline = work_timeline([[chunk(0.0, 10, [0.1] * 10), chunk(40.0, 10, [0.1] * 10)]])
    assert timeline.seconds == 50
    assert len(timeline.pauses) == 0


def test_what_was_not_measured_in_a_bucket_is_nan() -> None:
    chunks = [chunk(0.0, 1, [0.1]), chunk(1.0, 1, []), chunk(2.0, 1, [0.3])]
    timeline = work_timeline([chunks])
    assert np.isnan(timeline.latency_p50[1])
    assert timeline.rate[1] == pytest.approx(0)


def test_runs_are_counted_apart() -> None:
    pages = [[chunk(50.0, 5, [0.1], "b"), chunk(0.0, 5, [0.1] * 3, "a", failed=2)], [chunk(5.0, 5, [0.1], "a")]]
    first, second = work_timeline(pages).runs
    assert (first.run, first.started_at, first.finished_at, first.inferred, first.failed) == ("a", 0.0, 10.0, 4, 2)
    assert (second.run, second.inferred) == ("b", 1)


chunks_of_any_kind = st.lists(
    st.builds(
        chunk,
        started_at=st.floats(1.7e9, 1.7e9 + 1e6),
        seconds=st.floats(0, 1e4),
        latencies=st.lists(st.floats(0, 100, width=32), max_size=5),
        run=st.sampled_from(["a", "b", ""]),
    ),
    min_size=1,
    max_size=40,
)


@given(chunks_of_any_kind)
def test_every_record_is_counted_once_however_chunks_overlap(chunks: list[dict]) -> None:
    timeline = work_timeline([chunks[:7], chunks[7:]])
    inferred = sum(c["inferred"] for c in chunks)
    assert total(timeline) == pytest.approx(inferred, rel=1e-6, abs=1e-6)
    assert timeline.inferred == len(timeline.latencies) == inferred
    assert 1 <= len(timeline.rate) <= BUCKETS
    assert np.all(np.diff(timeline.edges) > 0)
    known = ~np.isnan(timeline.latency_p50)
    assert np.all(timeline.latency_p50[known] <= timeline.latency_p95[known])
