"""What it costs to watch a run, and how soon a commit is seen: ``dobby watch --json`` beside ``dobby summarize``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import psutil

from bench.contracts.measurement import Figure, Figures, Probe
from bench.summarize_process import Summarize, new_database
from dobby_dagster.pipeline.reporting.batch_metrics import percentile
from dobby_dagster.store.cozo_store import CozoStore

RECORDS = 1_500
DEFAULT_INTERVAL, SHORT_INTERVAL = 0.5, 0.05


def probes() -> list[Probe]:
    """Each contract of monitoring, at the default interval and at the shortest."""
    names = ("updates_per_second", "delay_seconds", "bytes", "cpu_share", "cost_share")
    contracts = tuple(f"monitoring_{name}" for name in names)
    return [
        Probe(f"dobby watch, every {interval:g} s", contracts, partial(_watched_run, interval))
        for interval in (DEFAULT_INTERVAL, SHORT_INTERVAL)
    ]


class Watch:
    """``dobby watch --json`` with what it printed, and when."""

    def __init__(self, url: str, interval: float) -> None:
        command = [sys.executable, "-m", "dobby_dagster.cli.app", "watch", "-d", url]
        self._process = subprocess.Popen(  # noqa: S603
            [*command, "--json", "--interval", str(interval)], stdout=subprocess.PIPE, text=True
        )
        self.readings: list[tuple[float, dict[str, Any]]] = []
        self._first: tuple[float, float] | None = None
        self.bytes, self.cpu_seconds, self.seconds = 0, 0.0, 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        watched = psutil.Process(self._process.pid)
        for line in self._process.stdout:
            now = time.time()
            self.readings.append((now, json.loads(line)))
            with suppress(psutil.Error):
                times = watched.cpu_times()
                spent = float(times.user + times.system)
                self._first = self._first or (now, spent)
                self.seconds, self.cpu_seconds = now - self._first[0], spent - self._first[1]
                self.bytes = max(self.bytes, watched.memory_full_info().uss)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()


def _watched_run(interval: float) -> Figures:
    """Start and imports of the watching process are not counted: it watches a run for as long as it likes."""
    with new_database(RECORDS) as url:
        watch = Watch(url, interval)
        while not watch.readings:
            time.sleep(0.1)
        run = Summarize(url)
        run.wait()
        time.sleep(interval)
        watch.stop()
        delays = _delays(run.store, watch)
    spent = watch.cpu_seconds / watch.seconds
    return {
        "monitoring_updates_per_second": (len(watch.readings) - 1) / watch.seconds,
        "monitoring_delay_seconds": Figure(
            percentile(delays, 0.95),
            f"{len(delays)} commits, their own time included; median {percentile(delays, 0.5):.2g} s",
        ),
        "monitoring_bytes": Figure(watch.bytes, "private memory of the whole process, Python included"),
        "monitoring_cpu_share": spent,
        "monitoring_cost_share": Figure(spent / (os.cpu_count() or 1), "its share of all cores' time"),
    }


def _delays(store: CozoStore, watch: Watch) -> list[float]:
    """From the end of each chunk's inference, so its commit included, until a reading has counted it."""
    columns = "finished_at, completed, failed, skipped"
    chunks = store.connection.run(
        f"?[finished_at, chunk, completed, failed, skipped] := *dobby_chunk{{chunk, {columns}}} :order finished_at"
    )
    counted, delays = 0, []
    seen = [(at, _records(reading)) for at, reading in watch.readings]
    for finished_at, _, *records in chunks.rows:
        counted += sum(records)
        shown = next((at for at, count in seen if count >= counted), None)
        if shown is not None:
            delays.append(shown - finished_at)
    assert delays, "the watching process saw no commit"
    return delays


def _records(reading: dict[str, Any]) -> int:
    """Records that the runs of a reading have committed; of the last run where none is working."""
    runs = reading["runs"] or [reading["last_run"] or {}]
    return sum(run.get(name, 0) for run in runs for name in ("completed", "failed", "skipped"))
