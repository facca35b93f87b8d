"""What automation costs beside a large history, and an hour of continuous arrival on a simulated clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import psutil

from bench.ledger_fill import fill
from dobby_dagster.defs.assets import metrics, pending_records, summaries
from dobby_dagster.defs.automation import new_records_sensor, retry_schedule
from dobby_dagster.defs.builders import build_resources
from dobby_dagster.defs.checks import performance_contracts, summaries_invariants
from dobby_dagster.defs.runs.dagster_home import dagster_home
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore

MEMBERS = 25
TICK_SECONDS = 15


def cost_of_ticks(batches: int) -> dict[str, Any]:
    """Seconds of each kind of tick, and of loading, with ``batches`` settled batches of 25 records."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder), batch_size=MEMBERS)
        store = CozoStore.open(settings.database)
        fill(store, settings, batches, MEMBERS)
        with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
            first, seconds_first = _timed(lambda: new_records_sensor.evaluate(settings, store, instance, None))
            for request in first.dynamic_partitions_requests or []:
                instance.add_dynamic_partitions("record_batches", list(request.partition_keys))
            cursor = json.loads(first.cursor or "{}") | {"asked": batch_id(batches)}
            _, idle = _timed(lambda: new_records_sensor.evaluate(settings, store, instance, json.dumps(cursor)))
            rows = [[f"new{i}", f"def f{i}(): pass"] for i in range(10_000)]
            store.connection.run("?[key, content] <- $rows :put record {key => content}", {"rows": rows}, write=True)
            _, busy = _timed(lambda: new_records_sensor.evaluate(settings, store, instance, json.dumps(cursor)))
            _, retry = _timed(lambda: retry_schedule.evaluate(settings, store, instance, "now"))
            return {
                "batches": batches,
                "records": batches * MEMBERS,
                "first tick, no cursor": seconds_first,
                "tick, nothing new": idle,
                "tick, 10,000 new rows": busy,
                "tick of retry_failed": retry,
                "definitions load": _load(),
            }


def arrivals(hours: float = 1.0, rows_a_tick: int = 20) -> list[dict[str, Any]]:
    """Rows that arrive all the time, worked off by the sensor and real runs; the clock is simulated.

    Every tick of 15 simulated seconds some rows come, the sensor is evaluated, and what it asks for is run in this
    process, with the real engine, database and instance. One row of the result for each tenth of the time.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder), batch_size=100)
        store = CozoStore.open(settings.database)
        plan(store, store.source(settings.source), 100)
        resources, process = build_resources(settings), psutil.Process()
        ticks, written, asked, now, shown = int(hours * 3_600 / TICK_SECONDS), 0, 0, time.time(), []
        cursor: str | None = None
        with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
            for tick in range(ticks + 20):
                if tick < ticks:
                    rows = [
                        [f"k{i}", f"def f{i}(a):\n    return a * {i}\n"] for i in range(written, written + rows_a_tick)
                    ]
                    script = "?[key, content] <- $rows :put record {key => content}"
                    store.connection.run(script, {"rows": rows}, write=True)
                    written += rows_a_tick
                now += TICK_SECONDS
                with mock.patch.object(new_records_sensor.time, "time", return_value=now):
                    result = new_records_sensor.evaluate(settings, store, instance, cursor)
                cursor = result.cursor
                for request in result.dynamic_partitions_requests or []:
                    instance.add_dynamic_partitions("record_batches", list(request.partition_keys))
                for request in result.run_requests or []:
                    asked += 1
                    chain = [pending_records, summaries, metrics, summaries_invariants, performance_contracts]
                    dg.materialize(
                        chain, instance=instance, resources=resources, tags=dict(request.tags), raise_on_error=False,
                        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    )  # fmt: skip
                if (tick + 1) % max(1, ticks // 10) == 0 or tick == ticks + 19:
                    status = store.reports.status("record", store.recipes.latest())
                    shown.append(
                        {
                            "minute": round((tick + 1) * TICK_SECONDS / 60),
                            "rows": written,
                            "settled": status["completed"] + status["failed"] + status["skipped"],
                            "runs": asked,
                            "memory, MB": round(process.memory_info().rss / 1e6),
                            "database, MB": round(Path(folder, "records.db").stat().st_size / 1e6, 1),
                            "DAGSTER_HOME, MB": round(size_of(Path(folder, "home")) / 1e6, 1),
                        }
                    )
        return shown


def _settings(folder: Path, batch_size: int) -> Settings:
    os.environ["DAGSTER_HOME"] = str(folder / "home")
    arguments = {"database.url": f"sqlite:///{folder}/records.db", "pipeline.batch_size": batch_size}
    return load_settings(arguments, environment={}).settings


def _load() -> float:
    """Seconds of loading the definitions in a new process, beyond what importing Dagster takes."""
    code = "import time, dagster; t = time.perf_counter(); import dobby_dagster.definitions; print(time.perf_counter() - t)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    return float(answer.stdout)


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = action()
    return result, time.perf_counter() - began


def size_of(folder: Path) -> int:
    """Bytes of all files in ``folder``."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
