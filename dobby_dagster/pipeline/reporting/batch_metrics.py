"""How a batch went, from what was stored of its chunks and summaries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import PipelineSettings
from dobby_dagster.pipeline.reporting.doubtful_summaries import Doubts
from dobby_dagster.store.cozo_store import CozoStore

UNSURE_BELOW = PipelineSettings().unsure_below


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value with at least ``share`` of all at or below it; 0 of nothing.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.95)
    (2, 4)
    """
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def mean_known(values: Sequence[float | None]) -> float | None:
    """The arithmetic mean of what is known; None where nothing is.

    >>> mean_known([1.0, None, 3.0]), mean_known([None])
    (2.0, None)
    """
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def batch_metrics(store: CozoStore, scope: Scope, unsure_below: float = UNSURE_BELOW) -> dict[str, Any]:
    """Every metric of a batch under a recipe; seconds, bytes and shares as the names say, None what is unknown.

    Derived from what is stored, so that computing it again after a run that inferred nothing gives the same.

    Args:
        store: Where it is.
        scope: Which batch, under which recipe.
        unsure_below: Summaries of lower confidence count as unsure.
    """
    chunks = store.batch_reports.chunks(scope)
    written = store.batch_reports.outputs(scope)
    counts = store.states.counts(scope)
    latencies = [float(value) for chunk in chunks for value in chunk["latencies"]]
    busy = sum(chunk["finished_at"] - chunk["started_at"] for chunk in chunks)
    inferred = sum(chunk["inferred"] for chunk in chunks)
    processed = counts["completed"] + counts["failed"] + counts["skipped"]
    errors = store.batch_reports.errors(scope)
    weights = [max(1, len(chunk["latencies"])) for chunk in chunks]
    return {
        "records": counts["members"],
        "records_processed": processed,
        **{f"records_{state}": counts[state] for state in ("completed", "failed", "skipped", "pending", "in_progress")},
        "records_inferred": inferred,
        "records_per_second": inferred / busy if busy else 0.0,
        "busy_seconds": busy,
        "latency_mean_seconds": mean(latencies),
        "latency_p50_seconds": percentile(latencies, 0.50),
        "latency_p95_seconds": percentile(latencies, 0.95),
        "latency_p99_seconds": percentile(latencies, 0.99),
        "memory_bytes": max((chunk["rss_bytes"] for chunk in chunks), default=0),
        "cpu_cores": _weighted([chunk["cpu_share"] for chunk in chunks], weights),
        "slots": max((chunk["slots"] for chunk in chunks), default=0),
        "slots_in_use": _weighted([chunk["slots_in_use"] for chunk in chunks], weights),
        "errors": len(errors),
        "error_rate": len(errors) / processed if processed else 0.0,
        "last_error": errors[-1]["error"] if errors else "",
        **Doubts.of(written, unsure_below).metrics(),
        "confidence_mean": mean_known([row["confidence"] for row in written]),
        "prompt_tokens_mean": mean_known([row["prompt_tokens"] for row in written]),
        "output_tokens_mean": mean_known([row["output_tokens"] for row in written]),
        "output_tokens": sum(known) if (known := [n for row in written if (n := row["output_tokens"])]) else None,
    }


def _weighted(values: Sequence[float], weights: Sequence[int]) -> float:
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total else 0.0
