"""The database as one answer reads it: locked no longer than a query runs, or the answer takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import DatabaseSettings, Settings
from dobby_dagster.pipeline.reporting.waiting_records import count_waiting
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

LoadSettings: TypeAlias = Callable[[Mapping[str, Any] | None], Settings]
"""The settings as they are now, given what the database remembers."""

# An agent waits at most this long for a database that another process has locked.
WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Reading:
    """The records and summaries that one answer is made of.

    Attributes:
        settings: With what the database remembers.
        store: Open.
        source: The relation in use.
        recipe: The model and prompt that were used last; None before the first run.
    """

    settings: Settings
    store: CozoStore
    source: Source
    recipe: RecipeId | None

    @property
    def relation(self) -> str:
        """The source relation's name."""
        return self.settings.source.relation

    def session(self) -> AbstractContextManager[None]:
        """One opening of the database for a whole answer where an opening is slow and excludes a run: RocksDB.

        Elsewhere each query opens it, and a writer waits for one query at most.
        """
        return self.store.connection.session() if self.settings.database.address.engine == "rocksdb" else nullcontext()

    def require_summaries(self) -> None:
        """Refuse a database in which nothing has been summarised.

        Raises:
            SourceError: No run has been in it.
        """
        if self.recipe is None:
            raise SourceError(f"no record of '{self.relation}' has been summarised yet", hint="run dobby summarize")

    def behind(self) -> tuple[str, ...]:
        """What the summaries lag behind the source, as far as that is known without a full scan: at most one line."""
        left = count_waiting(self.store, self.source)
        return (
            (f"{counted(left, 'record')} new or changed since the last run; dobby summarize continues",) if left else ()
        )


class Database:
    """The database that the settings name, as each answer finds it.

    Args:
        load: Reads the settings again.
    """

    def __init__(self, load: LoadSettings) -> None:
        self._load = load
        self._guard = threading.Lock()
        self._opened: tuple[DatabaseSettings, CozoStore] | None = None

    def read(self) -> Reading:
        """Open it for one answer; it may have been replaced since the last one.

        Raises:
            SettingsError: The settings are wrong.
            StoreError: The database is gone, locked, damaged or newer than this program.
            SourceError: The source relation is gone.
        """
        store = self._store()
        with store.connection.session():
            settings = self._load(store.memory)
            return Reading(settings, store, store.source(settings.source), store.recipes.latest())

    def _store(self) -> CozoStore:
        """The store; kept, since what search has loaded is kept with it."""
        named = self._load(None).database
        limit = min(WAIT_SECONDS, named.lease_timeout_seconds)
        database = named.model_copy(update={"lease_timeout_seconds": limit})
        with self._guard:
            if self._opened is not None and self._opened[0] == database:
                self._opened[1].upgrade()
            else:
                self._opened = database, CozoStore.open(database, create=False)
            return self._opened[1]
