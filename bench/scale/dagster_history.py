"""Dagster's own storage as after many partitions: a real history of some, copied to many more.

Reporting an event takes Dagster milliseconds; so the rows of one real partition and one real run are copied in SQL, with
other names in them.
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

ASSETS = ("pending_records", "summaries", "metrics")
PARTITIONS_PER_RUN = 16
_EVENTS = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
_RUN = "run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set, create_timestamp, update_timestamp, start_time, end_time, backfill_id"


def multiply(home: Path, partitions: list[str]) -> dict[str, float]:
    """Give each of ``partitions`` the materializations of the first one that is there, and a run for every 16.

    Args:
        home: A DAGSTER_HOME on SQLite in which a run of partitions succeeded, and that nothing uses.
        partitions: All of them are partitions then, in this order after those that are there.

    Returns:
        Bytes that a partition takes in the index of events, and a run in the list of runs.
    """
    index, runs = home / "history" / "runs" / "index.db", home / "history" / "runs.db"
    groups = [partitions[begin : begin + PARTITIONS_PER_RUN] for begin in range(0, len(partitions), PARTITIONS_PER_RUN)]
    names = {partition: str(uuid.UUID(int=number)) for number, group in enumerate(groups) for partition in group}
    before = index.stat().st_size, runs.stat().st_size
    with closing(sqlite3.connect(index)) as database, database:
        _copy_events(database, names)
    with closing(sqlite3.connect(runs)) as database, database:
        _copy_runs(database, sorted(set(names.values())))
    return {
        "index of events, bytes a partition": (index.stat().st_size - before[0]) / len(partitions),
        "list of runs, bytes a run": (runs.stat().st_size - before[1]) / len(groups),
    }


def _copy_events(database: sqlite3.Connection, runs: dict[str, str]) -> None:
    name, first = database.execute("SELECT partitions_def_name, partition FROM dynamic_partitions").fetchone()
    database.executemany(
        "INSERT OR IGNORE INTO dynamic_partitions (partitions_def_name, partition) VALUES (?, ?)",
        ((name, partition) for partition in runs),
    )
    for asset in ASSETS:
        rows = database.execute(
            f"SELECT {_EVENTS} FROM event_logs WHERE asset_key = ? AND partition = ?",  # noqa: S608
            (f'["{asset}"]', first),
        ).fetchall()
        assert rows, f"no event of {asset} for {first}"
        for run, event, kind, at, step, key, _ in rows:
            database.executemany(
                f"INSERT INTO event_logs ({_EVENTS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    (other, event.replace(first, partition).replace(run, other), kind, at, step, key, partition)
                    for partition, other in runs.items()
                ),
            )
    database.execute("UPDATE asset_keys SET cached_status_data = NULL")


def _copy_runs(database: sqlite3.Connection, runs: list[str]) -> None:
    row = database.execute(f"SELECT {_RUN} FROM runs WHERE status = 'SUCCESS' ORDER BY id DESC").fetchone()  # noqa: S608
    tags = database.execute("SELECT key, value FROM run_tags WHERE run_id = ?", (row[0],)).fetchall()
    database.executemany(
        f"INSERT INTO runs ({_RUN}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        (
            (run, *(value.replace(row[0], run) if isinstance(value, str) else value for value in row[1:]))
            for run in runs
        ),
    )
    database.executemany(
        "INSERT INTO run_tags (run_id, key, value) VALUES (?, ?, ?)", ((run, *tag) for run in runs for tag in tags)
    )
