"""What each doubling of the records costs, in seconds and bytes: whether anything grows faster than the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.pipeline_run import RECIPE
from bench.scale.databases import database, opened, planned, put_records
from bench.scale.timed_worker import work
from dobby_dagster.domain.settings import Settings, SourceSettings
from dobby_dagster.monitor.ledger import Ledger
from dobby_dagster.monitor.ledger_figures import LedgerReader
from dobby_dagster.store.cozo_store import CozoStore

FIRST = 1_000
# Of a reading: the median of so many.
READINGS = 5


def doublings(kind: str, most: int, batch_size: int, folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each size from 1,000 records to ``most``: one database that grows, through the whole pipeline.

    All times are processor time, so that a busy machine does not change them; what waits for a disk or for another
    process comes on top. ``ms a record`` is of the records that the doubling adds, the rest of one reading of
    everything.
    """
    with database(kind, folder) as where:
        store = opened(where.url)
        settings = Settings(
            database={"url": where.url, "lease_timeout_seconds": 120.0}, monitor={"limit_seconds": 60.0}
        )
        before, size = 0, FIRST
        while size <= most:
            bytes_before = _bytes(settings)
            put_records(store, before, size)
            bytes_with_source = _bytes(settings)
            batches, planning = _timed(lambda: planned(store, batch_size))
            spent = work(store, batches, 0.0)
            added = size - before
            yield {
                "records": size,
                "planning, ms a record": planning / added * 1_000,
                "reading and claiming, ms a record": (spent.cpu - spent.commits) / added * 1_000,
                "commits, ms a record": spent.commits / added * 1_000,
                "source, bytes a record": _per_record(bytes_before, bytes_with_source, added),
                "ledger, bytes a record": _per_record(bytes_with_source, _bytes(settings), added),
                **_readings(store, settings),
            }
            before, size = size, size * 2


def _readings(store: CozoStore, settings: Settings) -> dict[str, float]:
    """Readings of everything that is there."""
    source, reader = store.source(SourceSettings()), LedgerReader(Ledger(lambda _: settings))
    return {
        "`dobby status`, s": _timed(lambda: store.reports.overview(source, RECIPE.id))[1],
        "invariants of `dobby doctor`, s": _timed(store.audit.examine)[1],
        "first count of the monitor, s": _timed(lambda: _count(reader))[1],
        "scrape, ms": _median(reader.read) * 1_000,
        "unfinished batches, ms": _median(lambda: store.states.unfinished("record", RECIPE.id, 3)) * 1_000,
    }


def _count(reader: LedgerReader) -> None:
    """Read until the records have been counted for the first time."""
    while reader.read().records is None:
        time.sleep(0.01)


def _bytes(settings: Settings) -> int | None:
    """Bytes of the database's files; None of a server."""
    file = settings.database.address.file
    if file is None:
        return None
    files = [path for path in file.rglob("*") if path.is_file()] if file.is_dir() else [file]
    return sum(path.stat().st_size for path in files if path.exists())


def _per_record(before: int | None, after: int | None, added: int) -> float | str:
    return "unknown" if before is None or after is None else (after - before) / added


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    result = action()
    return result, time.process_time() - began


def _median(action: Callable[[], Any]) -> float:
    return sorted(_timed(action)[1] for _ in range(READINGS))[READINGS // 2]
