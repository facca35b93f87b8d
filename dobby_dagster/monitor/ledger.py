"""The database as the monitor reads it: opened once it is there, and waited for only as long as a check may take."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings
from dobby_dagster.monitor.part_check import PartError, UnknownPartError
from dobby_dagster.pipeline.monitoring.stalls import stalled_runs
from dobby_dagster.store.cozo_store import CozoStore

LoadSettings: TypeAlias = Callable[[Mapping[str, Any] | None], Settings]
"""The settings as they are now, given what the database remembers."""


class Ledger:
    """The store, its settings, and the checks of both.

    Args:
        load: Reads the settings again.
    """

    def __init__(self, load: LoadSettings) -> None:
        self._load = load
        self._limit = load(None).monitor.limit_seconds
        self._guard = threading.Lock()
        self._opened: tuple[CozoStore, Settings] | None = None

    def opened(self) -> tuple[CozoStore, Settings]:
        """The store, and the settings with what it remembers.

        Raises:
            StoreError: It can't be opened, or is locked for longer than a check may take.
        """
        with self._guard:
            if self._opened is None:
                database = self._load(None).database
                limits = {
                    name: min(self._limit, getattr(database, name))
                    for name in ("lease_timeout_seconds", "timeout_seconds")
                }
                store = CozoStore.open(database.model_copy(update=limits), create=False)
                self._opened = store, self._load(store.memory)
            return self._opened

    def check_settings(self) -> str:
        """Check that the settings are valid: a run that starts now reads them again.

        Raises:
            SettingsError: They are not.
        """
        self._load(None)
        return "valid"

    def check_database(self) -> str:
        """Check that the database answers.

        Raises:
            StoreError: It does not.
        """
        health = self.opened()[0].health()
        return f"{health.url} answers, schema version {health.schema_version}"

    def check_stalls(self) -> str:
        """Check that every run makes progress.

        Raises:
            PartError: One does not.
            UnknownPartError: The database does not answer, or the settings are invalid.
        """
        try:
            stalled = stalled_runs(*self.opened())
        except DobbyError:
            raise UnknownPartError("not known: the database does not answer, or the settings are invalid") from None
        if stalled:
            longest = stalled[0]
            batches = ", ".join(longest.batches[:3])
            raise PartError(
                f"{counted(len(stalled), 'run')} stalled: {longest.run[:8]} of {batches},"
                f" without progress for {longest.seconds:.0f} s",
                hint=f"its process is {longest.owner}; end it, and it is tried again",
            )
        return "no run stalls"
