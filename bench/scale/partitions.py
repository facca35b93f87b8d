"""What the UI, the sensors, the monitor and Dobby's commands take beside many partitions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from bench.automation import size_of
from bench.ledger_fill import fill
from bench.peak_memory import peak_memory
from bench.scale.dagster_history import multiply
from dobby_dagster.defs.automation import alerts_sensor, new_records_sensor, retry_schedule
from dobby_dagster.defs.runs.crash_recovery import recover
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.monitor_client import MonitorClient
from dobby_dagster_tests.helpers.webserver import dagster_dev

# Batches that are really summarised: three runs, so that the bytes of a run can be told from those of its partitions.
REAL_BATCHES, REAL_MEMBERS = 48, 5
READINGS = 5
# The monitor shares what it found for half a second.
SHARED_SECONDS = 0.6
_ASSET = {"path": ["summaries"]}
_STATUSES = """partitionStats { numPartitions numMaterialized numMaterializing numFailed }"""
# What the pages of the UI ask for, in short.
PAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "asset graph": (
        f"""query($keys: [AssetKeyInput!]!) {{ assetNodes(assetKeys: $keys, loadMaterializations: true) {{ id
            assetMaterializations(limit: 1) {{ timestamp runId }} {_STATUSES} }} }}""",
        {"keys": [{"path": [name]} for name in ("record_batches", "pending_records", "summaries", "metrics")]},
    ),
    "partitions of an asset": (
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { id
            partitionKeysByDimension { name partitionKeys }
            assetPartitionStatuses { ... on DefaultPartitionStatuses {
                materializedPartitions materializingPartitions failedPartitions unmaterializedPartitions } } } } }""",
        {"key": _ASSET},
    ),
    "one partition": (
        """query($key: AssetKeyInput!, $partitions: [String!]) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            id assetMaterializations(partitions: $partitions, limit: 1) { timestamp runId partition
                metadataEntries { label } } } } }""",
        {"key": _ASSET, "partitions": ["batch-000001"]},
    ),
    "plots of an asset": (
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            id assetMaterializations(limit: 100) { timestamp partition metadataEntries { label } } } } }""",
        {"key": _ASSET},
    ),
    "runs": (
        "query { runsOrError(limit: 26) { ... on Runs { results { id status startTime tags { key value } } } } }",
        {},
    ),
}


def beside_partitions(partitions: int, members: int, folder: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Tables, each with its heading, for so many partitions with ``members`` records each.

    The time of a page is that of its GraphQL queries: the first one after the start, and the median of the next.
    """
    environment = {
        "DATABASE_URL": f"sqlite:///{folder}/records.db", "DAGSTER_HOME": str(folder / "home"),
        "DOBBY_PIPELINE_BATCH_SIZE": str(REAL_MEMBERS),
    }  # fmt: skip
    os.environ.update(environment)
    yield "Bytes of Dagster's storage, from real runs", [_real_runs(folder)]
    settings = load_settings({}).settings
    (folder / "records.db").unlink()
    store = CozoStore.open(settings.database)
    names = [batch_id(number) for number in range(1, partitions + 1)]
    _, filling = _timed(lambda: fill(store, settings, partitions, members))
    copied, copying = _timed(lambda: multiply(folder / "home", names[REAL_BATCHES:]))
    yield (
        f"{partitions:,} partitions of {members} records",
        [
            {
                "database, bytes": size_of(folder) - size_of(folder / "home"),
                "DAGSTER_HOME, bytes": size_of(folder / "home"),
                **copied,
                "made in, s": filling + copying,
            }
        ],
    )
    yield "Ticks", [_ticks(settings, store)]
    yield "Commands", list(_commands(environment))
    yield "Pages of the UI, and the monitor", list(_pages(folder, environment))


def _real_runs(folder: Path) -> dict[str, Any]:
    """The bytes of DAGSTER_HOME that real runs of small batches add, by run and by partition."""
    store = CozoStore.open(load_settings({}).settings.database)
    rows = [[f"k{i:05d}", f"def f{i}(a):\n    return a * {i}\n"] for i in range(REAL_BATCHES * REAL_MEMBERS)]
    store.connection.run("?[key, content] <- $rows :put record {key => content}", {"rows": rows}, write=True)
    _dobby("summarize")
    home = folder / "home"
    index = (home / "history" / "runs" / "index.db").stat().st_size
    runs = [path for path in (home / "history" / "runs").glob("*.db") if path.name != "index.db"]
    of_runs = sum(path.stat().st_size for path in runs)
    return {
        "partitions": REAL_BATCHES,
        "runs": len(runs),
        "DAGSTER_HOME, bytes": size_of(home),
        "files of the runs, bytes a partition": of_runs / REAL_BATCHES,
        "index of events, bytes": index,
        "everything, bytes a partition": size_of(home) / REAL_BATCHES,
    }


def _ticks(settings: Settings, store: CozoStore) -> dict[str, Any]:
    """Seconds of each kind of tick, evaluated in this process."""
    last = next(reversed(store.versions.batches())).id
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        first, seconds = _timed(lambda: new_records_sensor.evaluate(settings, store, instance, None))
        cursor = json.dumps(json.loads(first.cursor or "{}") | {"asked": last})
        alerts = alerts_sensor.conditions_reader(settings)
        _, alerts_first = _timed(lambda: alerts(instance))
        return {
            "new_records, no cursor, s": seconds,
            "new_records, s": _timed(lambda: new_records_sensor.evaluate(settings, store, instance, cursor))[1],
            "retry_failed, first, s": _timed(lambda: retry_schedule.evaluate(settings, store, instance, "now"))[1],
            "retry_failed, s": _timed(lambda: retry_schedule.evaluate(settings, store, instance, "now"))[1],
            "recovery, s": _timed(lambda: recover(instance, store, None))[1],
            "alerts, first, s": alerts_first,
            "alerts, s": _timed(lambda: alerts(instance))[1],
        }


def _commands(environment: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Commands as processes of their own: seconds, and peak memory."""
    for words in (("status",), ("doctor",), ("watch", "--once"), ("preview",), ("show", "batch-000001/0"), ("alerts",)):
        seconds, peak = _dobby(*words)
        yield {"command": f"dobby {' '.join(words)}", "seconds": seconds, "peak MB": peak / 1e6}


def _dobby(*words: str) -> tuple[float, int]:
    """Run a command; its seconds and the peak of its resident memory, looked at often."""
    began = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-m", "dobby_dagster.cli.app", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    peak = peak_memory(process, 0.05)
    return time.perf_counter() - began, peak


def _pages(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, Any]]:
    with dagster_dev(folder, environment, "--no-automation") as served:
        for page, (query, variables) in PAGES.items():
            yield {"page": page, **_first_and_median(lambda q=query, v=variables: served.ask(q, v))}
        monitor = MonitorClient.of_home(folder / "home")
        yield {"page": "/metrics", **_first_and_median(lambda: monitor.get("/metrics"), SHARED_SECONDS)}
        yield {"page": "/ready", **_first_and_median(lambda: monitor.get("/ready"), SHARED_SECONDS)}


def _first_and_median(action: Callable[[], Any], pause: float = 0.0) -> dict[str, float]:
    times = []
    for _ in range(READINGS + 1):
        times.append(_timed(action)[1])
        time.sleep(pause)
    return {"first, s": times[0], "median, s": sorted(times[1:])[READINGS // 2]}


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = action()
    return result, time.perf_counter() - began
