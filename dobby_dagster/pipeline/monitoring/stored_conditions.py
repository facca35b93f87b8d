"""The checks that need no Dagster: disks, the database, and what its ledger shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dobby_dagster.domain.errors import Severity, StoreBusyError, StoreError
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.domain.settings import Settings
from dobby_dagster.pipeline.monitoring import ledger_conditions
from dobby_dagster.pipeline.monitoring.conditions import Check, Condition, Kind
from dobby_dagster.pipeline.monitoring.disk_space import free_spaces
from dobby_dagster.pipeline.monitoring.remedy_command import remedy_command
from dobby_dagster.store.cozo_store import CozoStore

# How long the checks wait for the database: all of them have the minute that Dagster gives a sensor.
LEASE_SECONDS, TIMEOUT_SECONDS = 5.0, 10.0
# A database that another process has locked is lost only after this time: a check or a backup takes minutes.
LOCKED_SECONDS = 300.0


def stored_checks(settings: Settings, home: Path) -> list[Check]:
    """The checks; the database is opened by the first that needs it.

    Args:
        settings: The settings in use.
        home: DAGSTER_HOME.
    """
    database = _Database(settings)
    return [
        Check(Kind.DISK, partial(_disks, settings, home)),
        Check(Kind.DATABASE, database.problems),
        Check(Kind.STALL, lambda: ledger_conditions.stalls(settings, database.store, home)),
        Check(Kind.CONTRACT, lambda: ledger_conditions.contracts(settings, database.store)),
        Check(Kind.QUARANTINE, lambda: ledger_conditions.quarantine(settings, database.store), database.version),
        Check(Kind.CONFIDENCE, lambda: ledger_conditions.confidence(settings, database.store), database.version),
    ]


@dataclass
class _Database:
    """Opened once; an error is remembered, so that only one check waits for it."""

    settings: Settings
    _opened: CozoStore | None = field(default=None, init=False)
    _error: StoreError | None = field(default=None, init=False)

    @property
    def store(self) -> CozoStore:
        """The open store.

        Raises:
            StoreError: It can't be used.
        """
        if self._error is not None:
            raise self._error
        if self._opened is None:
            given = self.settings.database
            limits = {
                "lease_timeout_seconds": min(LEASE_SECONDS, given.lease_timeout_seconds),
                "timeout_seconds": min(TIMEOUT_SECONDS, given.timeout_seconds),
            }
            try:
                opened = CozoStore.open(given.model_copy(update=limits), create=False)
                opened.health()
            except StoreError as error:
                self._error = error
                raise
            self._opened = opened
        return self._opened

    def version(self) -> object:
        """Changes with every state of a record, and with the recipe in use."""
        return self.store.counts.now(), self.store.recipes.latest()

    def problems(self) -> Iterator[Condition]:
        """Why the database can't be used, if so."""
        try:
            _ = self.store
        except StoreError as error:
            locked = isinstance(error, StoreBusyError)
            url = self.settings.database.url
            yield Condition(
                Kind.DATABASE,
                url,
                f"the database {url} {'is locked' if locked else 'is lost'}",
                f"{error}. Nothing is summarised until it can be used again. "
                "If it is gone, dobby restore restores a backup.",
                Severity.CRITICAL,
                remedy_command(self.settings, "doctor"),
                after_seconds=LOCKED_SECONDS if locked else 0.0,
            )


def _disks(settings: Settings, home: Path) -> Iterator[Condition]:
    for space in free_spaces(settings, home):
        if space.is_low:
            yield Condition(
                Kind.DISK,
                str(space.folder),
                f"the disk of {space.folder} is nearly full: {space.free / 1e9:.2f} GB free",
                "A full disk stops every write. Free some space; automation.alert_disk_bytes is the limit.",
                remedy=f"df -h {shell_word(str(space.folder))}",
            )
