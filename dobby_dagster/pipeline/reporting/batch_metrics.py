"""The metrics of a batch, computed from its stored chunks, states and summaries."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import PipelineSettings
from dobby_dagster.pipeline.reporting.doubtful_summaries import DoubtfulCounts
from dobby_dagster.store.cozo_store import CozoStore

UNSURE_BELOW = PipelineSettings().unsure_below


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value with at least ``share`` of all at or below it; 0 for no values.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.95)
    (2.0, 4.0)
    """
    return float(np.quantile(values, share, method="inverted_cdf")) if values else 0.0


def mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """The arithmetic mean, weighted by ``weights``; 0 for no values."""
    return fmean(values, weights) if values else 0.0


def mean_known(values: Sequence[float | None]) -> float | None:
    """The arithmetic mean of the values that are not None; None where all are.

    >>> mean_known([1.0, None, 3.0]), mean_known([None])
    (2.0, None)
    """
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _weighted_known(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """The mean of the values that are not None, weighted; None where there are none.

    >>> _weighted_known([1.0, None, 4.0], [2, 5, 1])
    2.0
    """
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None and weight]
    return fmean(*zip(*known, strict=True)) if known else None


def batch_metrics(store: CozoStore, scope: Scope, unsure_below: float = UNSURE_BELOW) -> dict[str, Any]:
    """All metrics of a batch under a recipe, by name; the unit is in the name, and None is unknown.

    They depend on stored data only: after a run that inferred nothing they are the same.

    Args:
        store: Where the batch is.
        scope: Which batch, under which recipe.
        unsure_below: Summaries of lower confidence count as unsure.
    """
    chunks = store.batch_reports.chunks(scope)
    outputs = store.batch_reports.outputs(scope)
    counts = store.states.counts(scope)
    latencies = [float(value) for chunk in chunks for value in chunk["latencies"]]
    seconds = [max(chunk["finished_at"] - chunk["started_at"], 1e-9) for chunk in chunks]
    busy = sum(seconds)
    inferred = sum(chunk["inferred"] for chunk in chunks)
    processed = counts["completed"] + counts["failed"] + counts["skipped"]
    errors = store.batch_reports.errors(scope)
    return {
        "records": counts["members"],
        "records_processed": processed,
        **{f"records_{state}": counts[state] for state in ("completed", "failed", "skipped", "pending", "in_progress")},
        "records_inferred": inferred,
        "records_per_second": inferred / busy if busy else 0.0,
        "busy_seconds": busy,
        "finished_at": max((chunk["finished_at"] for chunk in chunks), default=None),
        "latency_mean_seconds": mean(latencies),
        "latency_p50_seconds": percentile(latencies, 0.50),
        "latency_p95_seconds": percentile(latencies, 0.95),
        "latency_p99_seconds": percentile(latencies, 0.99),
        "memory_bytes": max((chunk["rss_bytes"] for chunk in chunks), default=0),
        "cpu_cores": mean([chunk["cpu_share"] for chunk in chunks], seconds),
        "device": next((chunk["device"] for chunk in reversed(chunks) if chunk["device"]), None),
        "slots": max((chunk["slots"] for chunk in chunks), default=0),
        "slots_in_use": mean([chunk["slots_in_use"] for chunk in chunks], seconds),
        "queue_mean_seconds": _weighted_known(
            [chunk["queue_seconds"] for chunk in chunks], [chunk["inferred"] for chunk in chunks]
        ),
        "errors": len(errors),
        "error_rate": len(errors) / processed if processed else 0.0,
        "last_error": errors[-1]["error"] if errors else "",
        **DoubtfulCounts.of(outputs, unsure_below).metrics(),
        "confidence_mean": mean_known([row["confidence"] for row in outputs]),
        "prompt_tokens_mean": mean_known([row["prompt_tokens"] for row in outputs]),
        "output_tokens_mean": mean_known([row["output_tokens"] for row in outputs]),
        "output_tokens": sum(known) if (known := [n for row in outputs if (n := row["output_tokens"])]) else None,
    }
