"""What the metrics are made of, read from the ledger in one short session."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dobby_dagster.monitor.ledger import Ledger
from dobby_dagster.monitor.record_counter import RecordCounter
from dobby_dagster.monitor.single_flight import SingleFlight
from dobby_dagster.pipeline.monitoring.contract_results import ContractResult, latest_results
from dobby_dagster.pipeline.monitoring.stalls import stalled_runs
from dobby_dagster.store.cozo_store import CozoStore

# A scrape does not wait longer for the counts: those of the last scrape are served.
COUNTS_SECONDS = 0.025
_SQLITE_FILES = ("", "-journal", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """What is stored, at one moment.

    Attributes:
        totals: Counters, see :class:`~dobby_dagster.store.ledger.totals.Totals`.
        records: Records by state, and ``quarantined`` ones; None until they have been counted for the first time.
        waiting: Record versions in no batch.
        batches: Batches ever made.
        runs: Runs that are working.
        last_chunks: The last chunk of each of these that has committed any.
        last_commit: When anything was committed last, in seconds since the epoch; None where nothing was.
        stalled: Runs among them that make no progress.
        contracts: Performance contracts beside the last batches.
        database_bytes: Size of the database's files; None where a server has them.
        disk: Bytes of the disk that they are on, ``size`` and ``free``; empty where a server has them.
    """

    totals: Mapping[str, Mapping[str, float]]
    records: Mapping[str, int] | None
    waiting: int
    batches: int
    runs: int
    last_chunks: Sequence[Mapping[str, Any]]
    last_commit: float | None
    stalled: int
    contracts: Sequence[ContractResult]
    database_bytes: int | None
    disk: Mapping[str, float]


class LedgerReader:
    """Reads the figures; keeps only what makes the next reading cheaper.

    Args:
        ledger: The database.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._counter: RecordCounter | None = None
        self._counting = SingleFlight(self._count)
        self._records: Mapping[str, int] | None = None
        self._committed: Mapping[str, float] | None = None
        self._last_commit: float | None = None

    def read(self) -> LedgerFigures:
        """The figures as they are now.

        Raises:
            StoreError: The database does not answer.
        """
        store, settings = self._ledger.opened()
        with suppress(TimeoutError):
            self._counting.result(COUNTS_SECONDS)
        with store.connection.session():
            totals = store.totals.read()
            runs = store.activity.runs()
            last_chunks = [chunk for run in runs if (chunk := store.activity.last_chunk(run.run))]
            return LedgerFigures(
                totals,
                self._records,
                store.counts.waiting(settings.source.relation),
                store.counts.batches(),
                len(runs),
                last_chunks,
                self._commit_time(store, totals.get("records", {}), last_chunks),
                len(stalled_runs(store, settings)),
                latest_results(store, settings),
                *_disk(settings.database.address.file),
            )

    def _count(self) -> None:
        store, settings = self._ledger.opened()
        wanted = settings.source.relation, store.recipes.latest()
        if self._counter is None or (self._counter.relation, self._counter.recipe) != wanted:
            self._records = None
            self._counter = RecordCounter(store.counts, *wanted, settings.pipeline.max_retries)
        self._records = self._counter.refresh()

    def _commit_time(
        self, store: CozoStore, committed: Mapping[str, float], last_chunks: Sequence[Mapping[str, Any]]
    ) -> float | None:
        """Every chunk is read only where something was committed and no run is there that did it."""
        if committed != self._committed:
            self._committed = committed
            latest = max((chunk["finished_at"] for chunk in last_chunks), default=None)
            self._last_commit = store.activity.last_commit() if latest is None else latest
        return self._last_commit


def _disk(database: Path | None) -> tuple[int | None, dict[str, float]]:
    """The size of the database's files, in a folder or beside each other, and of their disk."""
    if database is None:
        return None, {}
    beside = (database.with_name(f"{database.name}{suffix}") for suffix in _SQLITE_FILES)
    files = database.rglob("*") if database.is_dir() else beside
    usage = shutil.disk_usage(database.absolute().parent)
    return sum(_size(file) for file in files), {"size": usage.total, "free": usage.free}


def _size(file: Path) -> int:
    try:
        found = file.stat()
    except FileNotFoundError:  # not used now, or deleted meanwhile
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
