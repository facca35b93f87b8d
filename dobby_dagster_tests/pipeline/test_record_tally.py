"""What the records of a report add up to, whatever pages they come in."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.pipeline.reporting.record_tally import CODES, EXAMPLES, LISTED, OTHER, RecordTally


def row(key: str, state: str = "completed", confidence: float | None = 0.5, **others: Any) -> dict[str, Any]:
    summary = {
        "fingerprint": f"f-{key}", "confidence": confidence, "finish_reason": "stop", "prompt_tokens": 10,
        "output_tokens": 5, "truncated": False, "inference_seconds": 0.1,
    }  # fmt: skip
    none = dict.fromkeys(summary)
    failed = {"error": "", "error_code": "", "retry": "no_retry", "retry_count": 0, "reason": ""}
    return {"key": key, "state": state, **failed, **(summary if state == "completed" else none), **others}


def tally_of(*pages: list[dict[str, Any]]) -> RecordTally:
    tally = RecordTally(unsure_below=0.1, max_retries=3)
    for page in pages:
        tally.add(page)
    return tally


def test_unknown_is_counted_apart() -> None:
    tally = tally_of([row("a", confidence=None, prompt_tokens=None, output_tokens=None), row("b", confidence=1.0)])
    assert (tally.confidence.unknown, tally.confidence.mean, tally.doubts.unknown) == (1, 1.0, 1)
    assert (tally.output_tokens.unknown, tally.output_tokens.total) == (1, 5)
    assert tally.confidence_bins.sum() == 1
    assert tally.confidence_bins[-1] == 1, "a confidence of 1 is in the last bin"
    assert [r["key"] for r in tally.least_confident] == ["b"]


def test_nothing_has_no_mean() -> None:
    assert tally_of([]).confidence.mean is None
    assert tally_of().records == 0


def test_failures_by_code_with_examples() -> None:
    failed = [row(f"k{i}", "failed", error="e", error_code="x", retry_count=i) for i in range(6)]
    kind = tally_of(failed[:4], failed[4:]).failures["x"]
    assert (kind.count, kind.quarantined) == (6, 6), "no_retry is quarantined at once"
    assert [r["key"] for r in kind.examples] == [f"k{i}" for i in range(EXAMPLES)]


def test_codes_and_reasons_without_end_are_counted_together() -> None:
    many = [row(f"k{i}", "failed", error_code=f"code {i}") for i in range(3 * CODES)]
    many += [row(f"s{i}", "skipped", reason=f"reason {i}") for i in range(3 * CODES)]
    tally = tally_of(many)
    again = tally_of(many, [row("x", "skipped", reason="reason 0"), row("y", "failed", error_code="code 0")])
    assert (again.reasons["reason 0"], again.failures["code 0"].count) == (2, 2), "what is known has its own count"
    assert len(tally.failures) == CODES + 1
    assert tally.failures[OTHER].count == 2 * CODES
    assert len(tally.reasons) <= CODES + 1
    assert sum(tally.reasons.values()) == 3 * CODES


def test_reused_summaries_are_not_among_the_slowest() -> None:
    tally = tally_of([row("reused", inference_seconds=0.0), row("slow", inference_seconds=3.0), row("fast")])
    assert [r["key"] for r in tally.slowest] == ["slow", "fast"]


def test_the_sample_stays_when_other_records_come() -> None:
    before = tally_of([row(f"k{i}") for i in range(200)])
    after = tally_of([row(f"k{i}") for i in range(210)])
    shared = {r["key"] for r in before.sample} & {r["key"] for r in after.sample}
    assert len(before.sample) == LISTED
    assert len(shared) >= LISTED - 3


states = st.sampled_from(["completed", "failed", "skipped", "pending", "in_progress"])
confidences = st.none() | st.floats(0, 1)


@given(st.lists(st.tuples(states, confidences), max_size=60), st.integers(1, 20))
def test_pages_do_not_matter(drawn: list[tuple[str, float | None]], size: int) -> None:
    rows = [row(f"k{i:03d}", state, confidence) for i, (state, confidence) in enumerate(drawn)]
    for r in rows:
        if r["state"] != "completed":
            r["confidence"] = None
    whole, paged = tally_of(rows), tally_of(*(rows[i : i + size] for i in range(0, len(rows), size)))
    assert whole.states == paged.states
    assert whole.records == len(rows)
    assert whole.confidence_bins.tolist() == paged.confidence_bins.tolist()
    assert (whole.doubts, whole.sample, whole.slowest) == (paged.doubts, paged.sample, paged.slowest)
    assert [r["confidence"] for r in whole.least_confident] == [r["confidence"] for r in paged.least_confident]
