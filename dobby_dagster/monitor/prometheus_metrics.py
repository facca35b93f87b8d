"""The metrics, named by Prometheus' conventions; `docs/monitoring.md` explains each of them.

What is unknown is left out. Label values are states, known error codes and names of contracts and parts: their number
is bounded.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)

from dobby_dagster import __version__
from dobby_dagster.domain.errors import DobbyError, RecordError
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.domain.states import State
from dobby_dagster.monitor.ledger_figures import LedgerFigures
from dobby_dagster.monitor.part_check import Part
from dobby_dagster.store.ledger.record_counts import QUARANTINED
from dobby_dagster.store.ledger.totals import LABELS

OTHER = "other"


def build_info() -> Metric:
    """Which version runs."""
    values = {"version": __version__, "python_version": platform.python_version()}
    return InfoMetricFamily("dobby_build", "Version of Dobby and of Python.", values)


def part_metrics(parts: Mapping[str, Part]) -> Iterator[Metric]:
    """Which parts work, as /ready says."""
    known = {name: float(part.ok) for name, part in parts.items() if part.ok is not None}
    yield _gauge("dobby_ready", "Whether a part of the system works, as /ready says.", known, "part")


def alert_metric(alerts: Mapping[str, int]) -> Metric:
    """How many alerts are open."""
    return _gauge("dobby_alerts_open", "Open alerts.", {kind: float(count) for kind, count in alerts.items()}, "kind")


def ledger_metrics(figures: LedgerFigures) -> Iterator[Metric]:
    """All that the ledger tells."""
    yield from _totals(figures.totals)
    yield from _records(figures)
    yield from _runs(figures)
    if figures.database_bytes is not None:
        yield _gauge("dobby_database_bytes", "Size of the database's files.", {"": figures.database_bytes})
    for kind, value in figures.disk.items():
        yield _gauge(f"dobby_disk_{kind}_bytes", f"Disk of the database: {kind}.", {"": value})
    broken: dict[str, float] = {}
    for result in figures.contracts:
        if result.holds is not None:
            broken[result.contract.name] = max(broken.get(result.contract.name, 0.0), float(not result.holds))
    yield _gauge("dobby_contract_broken", "Whether the last batches break a performance contract.", broken, "contract")


def _totals(totals: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    ended = {state.value: 0.0 for state in (State.COMPLETED, State.FAILED, State.SKIPPED)}
    records = ended | dict(totals.get("records", {}))
    yield _counter("dobby_records", "Records that came to a final state.", records, "state")
    yield _counter("dobby_errors", "Failures of records.", _by_known_code(totals.get("errors", {})), "code")
    yield _counter("dobby_tokens", "Tokens read and generated.", totals.get("tokens", {}), "kind")
    stalls = {kind.value: 0.0 for kind in StallKind} | dict(totals.get("stalls", {}))
    yield _counter("dobby_stalls", "Runs that were ended because they made no progress.", stalls, "kind")
    for name, total, documentation in (
        ("dobby_requests", "inferred", "Records that the model was asked for."),
        ("dobby_inference_seconds", "busy_seconds", "Time of inference, of all chunks."),
        ("dobby_slot_seconds", "slot_seconds", "Time for which slots were in use, of all slots."),
    ):
        yield _counter(name, documentation, {"": totals.get(total, {}).get("", 0.0)})
    yield from _histogram(
        "dobby_record_duration_seconds",
        "Time of inference that a record took, amortised.",
        totals.get("record_seconds"),
    )
    yield from _histogram(
        "dobby_request_inference_time_seconds", "Time for which a request held a slot.", totals.get("request_seconds")
    )
    yield from _histogram(
        "dobby_request_queue_time_seconds", "Time for which a request waited for a slot.", totals.get("queue_seconds")
    )
    waits = {"count": 0, "sum": 0.0} | dict(totals.get("device_wait", {}))  # from 0, so that the first is an increase
    yield SummaryMetricFamily(
        "dobby_device_wait_seconds",
        "Time for which runs waited until the device was free.",
        int(waits["count"]),
        waits["sum"],
    )
    confidence = totals.get("confidence")
    if confidence:
        yield SummaryMetricFamily(
            "dobby_confidence", "Confidence of summaries.", int(confidence["count"]), confidence["sum"]
        )


def _records(figures: LedgerFigures) -> Iterator[Metric]:
    if figures.records is not None:
        states = {state.value: float(figures.records[state.value]) for state in State}
        yield _gauge("dobby_current_records", "Records of the source by state, deleted ones left out.", states, "state")
        quarantined = {"": float(figures.records[QUARANTINED])}
        yield _gauge("dobby_quarantined_records", "Failed records that are not retried.", quarantined)
    yield _gauge("dobby_waiting_records", "Record versions that are in no batch yet.", {"": figures.waiting})
    yield _gauge("dobby_batches", "Batches that were ever made.", {"": figures.batches})


def _runs(figures: LedgerFigures) -> Iterator[Metric]:
    yield _gauge("dobby_runs_in_progress", "Runs whose process works on records.", {"": figures.runs})
    yield _gauge("dobby_stalled_runs", "Runs in progress that make no progress.", {"": figures.stalled})
    if figures.last_commit is not None:
        yield _gauge(
            "dobby_last_commit_timestamp_seconds", "When the last chunk was committed.", {"": figures.last_commit}
        )
    chunks = figures.last_chunks
    if figures.runs and len(chunks) < figures.runs:
        return  # of a run that has not committed anything, nothing is known
    running = sum(chunk["slots_in_use"] for chunk in chunks)
    yield _gauge("dobby_requests_running", "Slots in use: mean of the last chunk of each run.", {"": running})
    if figures.records is not None:
        waiting = max(0.0, figures.records[State.IN_PROGRESS.value] - running)
        yield _gauge("dobby_requests_waiting", "Records that are claimed and have no slot yet.", {"": waiting})
    if chunks:
        for name, column, documentation in (
            ("dobby_slots", "slots", "Slots of the runs in progress: maximum batch size."),
            ("dobby_memory_bytes", "rss_bytes", "Memory of the processes of the runs in progress."),
            ("dobby_cpu_cores", "cpu_share", "Cores that the runs in progress use."),
        ):
            yield _gauge(name, documentation, {"": sum(chunk[column] for chunk in chunks)})


def _by_known_code(errors: Mapping[str, float]) -> dict[str, float]:
    known = _codes(DobbyError)
    counts = dict.fromkeys(_codes(RecordError), 0.0)  # from 0, so that the first failure is an increase
    for code, count in errors.items():
        label = code if code in known else OTHER
        counts[label] = counts.get(label, 0.0) + count
    return counts


def _codes(kind: type[DobbyError]) -> set[str]:
    return {kind.code}.union(*(_codes(each) for each in kind.__subclasses__()))


def _gauge(name: str, documentation: str, values: Mapping[str, float], label: str = "") -> Metric:
    return _filled(GaugeMetricFamily(name, documentation, labels=[label] if label else []), values, label)


def _counter(name: str, documentation: str, values: Mapping[str, float], label: str = "") -> Metric:
    return _filled(CounterMetricFamily(name, documentation, labels=[label] if label else []), values, label)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float], label: str) -> Metric:
    for value, number in sorted(values.items()):
        family.add_metric([value] if label else [], number)
    return family


def _histogram(name: str, documentation: str, counts: Mapping[str, float] | None) -> Iterable[Metric]:
    if not counts:
        return
    cumulated = accumulate(counts.get(label, 0.0) for label in LABELS)
    yield HistogramMetricFamily(name, documentation, list(zip(LABELS, cumulated, strict=True)), counts["sum"])
