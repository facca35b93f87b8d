"""How fast the work went over time, from the statistics of chunks.

The time axis is working time: pauses in which no chunk was under way are left out, so that half a minute of work today
and half a minute last week read as one minute of work and not as a flat line with two spikes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

BUCKETS = 60
# A bucket has this many chunks on average, so that it shows the rate and not how commits come in bursts.
BUCKET_CHUNKS = 8
# A gap that is longer is a pause.
PAUSE_SECONDS = 60.0
_COLUMNS = (
    "started_at", "finished_at", "completed", "inferred", "failed", "skipped", "rss_bytes", "cpu_share", "slots_in_use",
    "slots", "prompt_tokens", "output_tokens",
)  # fmt: skip


@dataclass(frozen=True)
class RunWork:
    """What one run did: seconds since the epoch, and numbers of records."""

    run: str
    started_at: float
    finished_at: float
    completed: int
    inferred: int
    failed: int
    skipped: int


@dataclass(frozen=True)
class WorkTimeline:
    """Figures by bucket of working time; NaN where nothing was measured.

    Attributes:
        edges: Of the buckets, in seconds of working time; one more than there are buckets, empty without work.
        rate: Records inferred a second.
        latency_p50, latency_p95: Seconds of inference a record: its share of the time of its batch.
        memory: The largest resident memory, in bytes.
        slots_in_use: Their mean.
        pauses: Where pauses were left out, in seconds of working time.
        latencies: Of every record, seconds.
        runs: What each run did, oldest first.
        started_at, finished_at: Of all, seconds since the epoch; None without work.
        cores: CPU cores in use, on average; None without work.
        slots: The largest number of slots; None without work.
        prompt_tokens_per_second, output_tokens_per_second: Of working time; None where those of any chunk are unknown.
    """

    edges: Numbers
    rate: Numbers
    latency_p50: Numbers
    latency_p95: Numbers
    memory: Numbers
    slots_in_use: Numbers
    pauses: Numbers
    latencies: npt.NDArray[np.float32]
    runs: list[RunWork]
    started_at: float | None = None
    finished_at: float | None = None
    cores: float | None = None
    slots: int | None = None
    prompt_tokens_per_second: float | None = None
    output_tokens_per_second: float | None = None

    @property
    def seconds(self) -> float:
        """Working time."""
        return float(self.edges[-1]) if len(self.edges) else 0.0

    @property
    def inferred(self) -> int:
        """Records inferred."""
        return sum(run.inferred for run in self.runs)


def work_timeline(pages: Iterable[Iterable[Mapping[str, Any]]]) -> WorkTimeline:
    """The timeline of chunks, as :meth:`~dobby_dagster.store.ledger.report_pages.ReportPages.chunks` gives them.

    A chunk's records are spread evenly over its time. Of a record 4 bytes stay in memory, its latency.
    """
    rows: list[list[float]] = []
    runs: list[str] = []
    latencies: list[npt.NDArray[np.float32]] = []
    for page in pages:
        for chunk in page:
            rows.append([np.nan if chunk[name] is None else float(chunk[name]) for name in _COLUMNS])
            runs.append(chunk["run"])
            latencies.append(np.asarray(chunk["latencies"], dtype=np.float32))
    if not rows:
        empty = np.empty(0)
        return WorkTimeline(*(empty,) * 7, empty.astype(np.float32), [])
    table = dict(zip(_COLUMNS, np.asarray(rows).T, strict=True))
    start, end = table["started_at"], np.maximum(table["finished_at"], table["started_at"])
    clock, pauses = _working_clock(start, end)
    began, ended = clock(start), clock(end)
    edges = np.linspace(0.0, max(float(ended.max()), 1e-9), _buckets(len(rows)) + 1)
    place = np.clip(np.searchsorted(edges, ended, side="left") - 1, 0, len(edges) - 2)
    members = [np.flatnonzero(place == bucket) for bucket in range(len(edges) - 1)]
    by_bucket = [np.concatenate([latencies[i] for i in found] or [np.empty(0, np.float32)]) for found in members]
    weights = np.maximum(1.0, table["inferred"])
    return WorkTimeline(
        edges=edges,
        rate=_rate(began, ended, table["inferred"], edges),
        latency_p50=np.array([_quantile(values, 0.50) for values in by_bucket]),
        latency_p95=np.array([_quantile(values, 0.95) for values in by_bucket]),
        memory=np.array([table["rss_bytes"][found].max() if len(found) else np.nan for found in members]),
        slots_in_use=np.array(
            [np.average(table["slots_in_use"][f], weights=weights[f]) if len(f) else np.nan for f in members]
        ),
        pauses=pauses,
        latencies=np.concatenate(latencies),
        runs=_runs(runs, table),
        started_at=float(start.min()),
        finished_at=float(end.max()),
        cores=float(np.average(table["cpu_share"], weights=weights)),
        slots=int(table["slots"].max()),
        prompt_tokens_per_second=_speed(table["prompt_tokens"], edges),
        output_tokens_per_second=_speed(table["output_tokens"], edges),
    )


def _speed(counts: Numbers, edges: Numbers) -> float | None:
    total = float(counts.sum())
    return None if np.isnan(total) else total / float(edges[-1])


def _buckets(chunks: int) -> int:
    return min(BUCKETS, max(min(chunks, 8), chunks // BUCKET_CHUNKS))


def _quantile(values: npt.NDArray[np.float32], share: float) -> float:
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else np.nan


def _working_clock(start: Numbers, end: Numbers) -> tuple[Any, Numbers]:
    """A function from time to working time, and the working times at which pauses were left out."""
    order = np.argsort(start)
    first, last = start[order], np.maximum.accumulate(end[order])
    breaks = np.flatnonzero(first[1:] - last[:-1] > PAUSE_SECONDS) + 1
    begins, ends = first[[0, *breaks]], last[[*(breaks - 1), -1]]
    offsets = np.concatenate([[0.0], np.cumsum(ends - begins)])

    def clock(at: Numbers) -> Numbers:
        session = np.searchsorted(begins, at, side="right") - 1
        return np.asarray(offsets[session] + (at - begins[session]))

    return clock, offsets[1:-1]


def _rate(began: Numbers, ended: Numbers, counts: Numbers, edges: Numbers) -> Numbers:
    """Counts a second in each bucket, where each count is spread evenly from its beginning to its end."""
    duration = np.maximum(ended - began, 1e-9)
    inner = [float((np.clip((edge - began) / duration, 0.0, 1.0) * counts).sum()) for edge in edges[1:-1]]
    done = np.array([0.0, *inner, float(counts.sum())])  # at the ends exactly, also of what took no time
    return np.asarray(np.diff(done) / np.diff(edges))


def _runs(names: list[str], table: Mapping[str, Numbers]) -> list[RunWork]:
    known, place = np.unique(np.array(names), return_inverse=True)
    first, last = np.full(len(known), np.inf), np.zeros(len(known))
    np.minimum.at(first, place, table["started_at"])
    np.maximum.at(last, place, table["finished_at"])
    sums = [np.bincount(place, table[name]).astype(int) for name in ("completed", "inferred", "failed", "skipped")]
    rows = zip(known, first, last, *sums, strict=True)
    found = [RunWork(str(run), float(a), float(b), *(int(n) for n in counts)) for run, a, b, *counts in rows]
    return sorted(found, key=lambda run: run.started_at)
