"""The pipeline's contracts, on ``dobby summarize`` in a process of its own, and on a batch in this process."""

from __future__ import annotations

import time
from typing import Self

import psutil

from bench.contracts.engine_probes import LATENCY_SECONDS, SERVED, SERVED_SLOTS, local_engine
from bench.contracts.measurement import Figure, Figures, Probe
from bench.fixed_latency import fixed_latency_server, served_engine
from bench.pipeline_run import PROMPT, loaded_store, stream
from bench.shapes import BUILT_IN
from bench.summarize_process import Summarize, new_database
from bench.workload import functions
from dobby_dagster.domain.contracts import PER_BATCH
from dobby_dagster.inference.engine import Engine, Request
from dobby_dagster.store.cozo_store import CozoStore

RECORDS = 1_000
CHUNK = 60
PAUSE_SECONDS = 1.5
# Processor time of a process, relative to one core, below which it does nothing.
IDLE = 0.2


def probes() -> list[Probe]:
    """Each contract of the pipeline."""
    per_batch = tuple(contract.name for contract in PER_BATCH)
    whole = ("pipeline_start_seconds", "pipeline_thousand_records_seconds", *per_batch)
    long = ("pipeline_ten_thousand_records_seconds",)
    resume = ("pipeline_resume_seconds", "pipeline_resume_reused_share", "pipeline_resume_speed_ratio")
    streamed = ("pipeline_first_result_seconds", "pipeline_back_pressure_seconds")
    return [
        Probe(BUILT_IN, (*whole, *long), _thousand),
        Probe(f"{BUILT_IN}, all 10,000", long, _ten_thousand, "two to four minutes"),
        Probe(BUILT_IN, streamed, lambda: _streamed(local_engine(BUILT_IN))),
        Probe(SERVED, streamed, _streamed_served),
        Probe(BUILT_IN, resume, _resumed),
    ]


def _thousand() -> Figures:
    """1,000 records end to end; 10,000 by the rate of these, where they are not run as a whole."""
    with new_database(RECORDS) as url:
        run = Summarize(url)
        run.wait()
        store = run.store
        chunks = _chunks(store)
        started = min(chunk["started_at"] for chunk in chunks)
        rate = RECORDS / (run.ended_at - started)
        batches = [row["values"] for row in store.batch_reports.metrics()]
        inferred = sum(values["records_inferred"] for values in batches)
        errors = sum(values["records_failed"] for values in batches) / RECORDS
        latency = sum(values["latency_mean_seconds"] * values["records_inferred"] for values in batches) / inferred
    return {
        "pipeline_start_seconds": started - run.started_at,
        "pipeline_thousand_records_seconds": run.ended_at - run.started_at,
        "pipeline_ten_thousand_records_seconds": Figure(
            started - run.started_at + 10_000 / rate, f"by the rate of {RECORDS:,} records"
        ),
        "pipeline_records_per_second": rate,
        "pipeline_latency_mean_seconds": latency,
        "pipeline_memory_bytes": run.peak_bytes,
        "pipeline_error_rate": errors,
    }


def _ten_thousand() -> Figures:
    with new_database(10_000) as url:
        run = Summarize(url)
        run.wait()
    return {"pipeline_ten_thousand_records_seconds": Figure(run.ended_at - run.started_at, "measured whole")}


def _streamed(engine: Engine) -> Figures:
    """The first record of a loaded engine; then nothing is pulled for a while, and the work that still begins is timed."""
    engine.load()
    list(engine.infer([Request("0", "def f(): pass")], PROMPT))
    with loaded_store("sqlite", functions(600)) as store, _watched(engine) as slots:
        run = stream(store, engine, CHUNK)
        began = time.perf_counter()
        next(run.chunks)
        paused = time.perf_counter()
        idle_at = _idle_at(PAUSE_SECONDS)
        late = [at - paused for at in slots.taken if at > paused]
        run.chunks.close()
    first = f"the first chunk of {CHUNK} was committed after {paused - began:.2f} s"
    note = f"the last record that got a slot; the process was idle after {idle_at:.2f} s"
    return {
        "pipeline_first_result_seconds": Figure(slots.freed[0] - began, first),
        "pipeline_back_pressure_seconds": Figure(max(late, default=0.0), note),
    }


def _streamed_served() -> Figures:
    with fixed_latency_server(LATENCY_SECONDS) as url:
        engine = served_engine(url, SERVED_SLOTS)
        try:
            return _streamed(engine)
        finally:
            engine.close()


class _watched:  # noqa: N801
    """The moments at which records get a slot, and at which they leave it with a result."""

    def __init__(self, engine: Engine) -> None:
        self._use, self._change = engine.slot_use, engine.slot_use.change
        self.taken: list[float] = []
        self.freed: list[float] = []

    def __enter__(self) -> Self:
        def change(count: int) -> None:
            if count:
                (self.taken if count > 0 else self.freed).append(time.perf_counter())
            self._change(count)

        self._use.change = change  # type: ignore[method-assign]
        return self

    def __exit__(self, *exc: object) -> None:
        self._use.change = self._change  # type: ignore[method-assign]


def _idle_at(seconds: float) -> float:
    """When this process last used more than a fifth of a core in a 50 ms interval, within the next ``seconds``."""
    process, began, last = psutil.Process(), time.perf_counter(), 0.0
    process.cpu_percent()
    while (passed := time.perf_counter() - began) < seconds:
        time.sleep(0.05)
        if process.cpu_percent() > IDLE * 100:
            last = passed + 0.05
    return last


def _resumed() -> Figures:
    """A run is killed in the middle, and another one finishes its work."""
    with new_database(RECORDS) as url:
        killed = Summarize(url)
        store = killed.store
        _wait_for(store, RECORDS // 3)
        killed.kill()
        before = _chunks(store)
        again = Summarize(url)
        again.wait()
        after = [chunk for chunk in _chunks(store) if chunk["run"] not in {each["run"] for each in before}]
        kept, made = (sum(chunk["inferred"] for chunk in part) for part in (before, after))
        failed = sum(chunk["failed"] for chunk in after)
        repeated = max(0, kept + made + failed - RECORDS)
    assert kept, "nothing was committed before the kill"
    return {
        "pipeline_resume_seconds": min(chunk["finished_at"] for chunk in after) - again.started_at,
        "pipeline_resume_reused_share": Figure(1 - repeated / kept, f"killed after {kept} of {RECORDS:,} records"),
        "pipeline_resume_speed_ratio": _speed(after) / _speed(before),
    }


def _wait_for(store: CozoStore, records: int) -> None:
    deadline = time.monotonic() + 300
    while sum(chunk["inferred"] for chunk in _chunks(store)) < records:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.2)


def _speed(chunks: list[dict[str, float]]) -> float:
    busy = sum(chunk["finished_at"] - chunk["started_at"] for chunk in chunks)
    return sum(chunk["inferred"] for chunk in chunks) / busy


def _chunks(store: CozoStore) -> list[dict[str, float]]:
    columns = "run, started_at, finished_at, inferred, failed"
    return list(store.connection.run(f"?[chunk, {columns}] := *dobby_chunk{{chunk, {columns}}}").dicts())
