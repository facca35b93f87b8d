"""Worker processes with simulated engines on one database: the load at which the database is the limit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.scale.databases import Database, database, opened, planned, put_records

SECONDS = 15.0
# Records for each measurement, at most and at least; the second one for engines that answer at once.
MOST, UNLIMITED = 12_000, 3_000


def over_workers(
    kind: str, workers: Sequence[int], rates: Sequence[float], folder: Path, seconds: float = SECONDS
) -> Iterator[dict[str, Any]]:
    """A row for each rate of the simulated engines and number of workers, each on a new database.

    Args:
        kind: See :func:`~bench.scale.databases.database`.
        workers: Numbers of worker processes.
        rates: Records a second of each simulated engine; 0 answers at once, which finds the most that is possible.
        folder: For embedded databases.
        seconds: How long each measurement takes where the database is no limit.
    """
    for rate in rates:
        for count in workers:
            place = folder / f"{kind.partition(':')[0]}-{rate:g}-{count}"
            place.mkdir()
            with database(kind, place) as where:
                yield _measure(kind, where, count, rate, seconds)


def _measure(kind: str, where: Database, count: int, rate: float, seconds: float) -> dict[str, Any]:
    store = opened(where.url)
    records = int(min(MOST, rate * count * seconds)) if rate else UNLIMITED
    put_records(store, 0, records)
    batches = planned(store, max(60, min(500, -(-records // count))))
    shares = [batches[number::count] for number in range(count)]
    processes = [_started(where.url, share, rate) for share in shares if share]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        server_before = _cpu(where.server)
        for process in processes:
            _tell(process, "go")
        spent = [json.loads(process.communicate()[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    began, ended = min(each["started_at"] for each in spent), max(each["ended_at"] for each in spent)
    done, wall = sum(each["records"] for each in spent), ended - began
    ideal = rate * len(processes)
    commits = sorted(seconds for each in spent for seconds in each["commit_times"])
    busy = sum(each["seconds"] for each in spent)
    return {
        "database": kind.partition(":")[0],
        "engine, records/s": rate or "at once",
        "workers": len(processes),
        "records/s": done / wall,
        "of the ideal": done / wall / ideal if ideal else "",
        "engine's share of the time": sum(each["engine"] for each in spent) / busy,
        "a commit of 60, p50, s": commits[len(commits) // 2],
        "p95, s": commits[int(len(commits) * 0.95)],
        "CPU ms a record: claims": sum(each["claims"] for each in spent) / done * 1_000,
        "commits": sum(each["commits"] for each in spent) / done * 1_000,
        "all of the worker": sum(each["cpu"] for each in spent) / done * 1_000,
        "of the server": (_cpu(where.server) - server_before) / done * 1_000 if where.server else "",
    }


def _started(url: str, batches: Sequence[str], rate: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.scale.timed_worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    _tell(process, json.dumps({"url": url, "batches": list(batches), "records_per_second": rate}))
    return process


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _cpu(process: psutil.Process | None) -> float:
    times = process.cpu_times() if process else None
    return float(times.user + times.system) if times else 0.0
