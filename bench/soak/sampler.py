"""Looks at a running system every few seconds: processes, disk, records, runs and ticks; a line of JSON each time."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import dagster as dg
import psutil

from bench.automation import size_of
from bench.soak.soaked_system import SoakedSystem
from dobby_dagster_tests.helpers.webserver import MARKS


class Sampler(threading.Thread):
    """Samples until the block ends; what can't be read at the moment, as while everything restarts, is left out.

    Args:
        system: What is looked at.
        target: The file of JSON lines.
        interval: Seconds from one sample to the next.
    """

    def __init__(self, system: SoakedSystem, target: Path, interval: float) -> None:
        super().__init__(daemon=True)
        self._system, self._target, self._interval = system, target, interval
        self._ended = threading.Event()
        self._ticks_until = time.time()

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self.join(60)

    def run(self) -> None:
        """Sample until the end."""
        with (
            self._target.open("a", buffering=1) as file,
            dg.DagsterInstance.from_config(str(self._system.home)) as dagster,
        ):
            while not self._ended.wait(self._interval):
                file.write(json.dumps(self.sample(dagster)) + "\n")

    def sample(self, dagster: dg.DagsterInstance) -> dict[str, Any]:
        """One sample; sizes are in bytes, times in seconds since the epoch."""
        found: dict[str, Any] = {"at": time.time(), "recipe": self._system.recipe, "errors": []}
        for name in ("processes", "disk", "records", "runs", "ticks"):
            try:
                found[name] = getattr(self, f"_{name}")(dagster)
            except Exception as error:
                found["errors"].append(f"{name}: {type(error).__name__}: {error}"[:300])
        return found

    def _processes(self, dagster: dg.DagsterInstance) -> list[dict[str, Any]]:
        rows = []
        for kind in MARKS:
            for process in self._system.served.of(kind):
                try:
                    memory, times = process.memory_full_info(), process.cpu_times()
                    rows.append({"kind": kind, "pid": process.pid, "rss": memory.rss, "uss": memory.uss,
                                 "descriptors": process.num_fds(), "threads": process.num_threads(),
                                 "cpu_seconds": times.user + times.system})  # fmt: skip
                except psutil.Error:
                    continue
        return rows

    def _disk(self, dagster: dg.DagsterInstance) -> dict[str, int]:
        return {"database": self._system.database.stat().st_size, "home": size_of(self._system.home)}

    def _records(self, dagster: dg.DagsterInstance) -> dict[str, int]:
        return self._system.counts()

    def _runs(self, dagster: dg.DagsterInstance) -> dict[str, int]:
        counts = {s.value: dagster.get_runs_count(dg.RunsFilter(statuses=[s])) for s in dg.DagsterRunStatus}
        return {status: count for status, count in counts.items() if count}

    def _ticks(self, dagster: dg.DagsterInstance) -> dict[str, int]:
        """Ticks since the last sample, by sensor or schedule and status."""
        since, self._ticks_until = self._ticks_until, time.time()
        counts: Counter[str] = Counter()
        for state in dagster.all_instigator_state():
            ticks = dagster.get_ticks(
                state.instigator_origin_id, state.selector_id, before=self._ticks_until, after=since
            )
            counts.update(f"{state.name}: {tick.status.value}" for tick in ticks)
        return dict(counts)
