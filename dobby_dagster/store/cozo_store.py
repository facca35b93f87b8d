"""The store: one database, and every operation of Dobby on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dobby_dagster.domain.remembered import memory_of
from dobby_dagster.domain.settings import DatabaseSettings, Settings, SourceSettings
from dobby_dagster.store.database.connect import connect
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.database.drivers import package_of
from dobby_dagster.store.ledger.activity import Activity
from dobby_dagster.store.ledger.batch_reports import BatchReports
from dobby_dagster.store.ledger.chunks import Chunks
from dobby_dagster.store.ledger.claims import Claims
from dobby_dagster.store.ledger.code_graph import CodeGraph
from dobby_dagster.store.ledger.documents import Documents
from dobby_dagster.store.ledger.outlines import Outlines
from dobby_dagster.store.ledger.own_records import Records
from dobby_dagster.store.ledger.performance import Performance
from dobby_dagster.store.ledger.recipes import Recipes
from dobby_dagster.store.ledger.record_changes import RecordChanges
from dobby_dagster.store.ledger.record_counts import RecordCounts
from dobby_dagster.store.ledger.record_states import RecordStates
from dobby_dagster.store.ledger.record_versions import RecordVersions
from dobby_dagster.store.ledger.renewals import Renewals
from dobby_dagster.store.ledger.report_pages import ReportPages
from dobby_dagster.store.ledger.reports import Reports
from dobby_dagster.store.ledger.run_attempts import RunAttempts
from dobby_dagster.store.ledger.run_stalls import RunStalls
from dobby_dagster.store.ledger.schema import identity, memory, migrate, schema_version, set_meta
from dobby_dagster.store.ledger.totals import Totals
from dobby_dagster.store.ledger.vectors import Vectors
from dobby_dagster.store.maintenance.backup_file import write_backup
from dobby_dagster.store.maintenance.integrity import Reading, read_everything
from dobby_dagster.store.maintenance.ledger_audit import Audit
from dobby_dagster.store.maintenance.pruning import Upkeep
from dobby_dagster.store.source.source_relation import Source


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the database answers, how fast, and what runs it."""

    url: str
    schema_version: int
    seconds: float
    driver: str


class CozoStore:
    """A CozoDB of any engine, with Dobby's schema in it.

    Args:
        connection: To the database; its schema is brought up to date.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.upgrade()
        self.records = Records(connection)
        self.graph = CodeGraph(connection)
        self.outlines = Outlines(connection)
        self.versions = RecordVersions(connection)
        self.recipes = Recipes(connection)
        self.states = RecordStates(connection)
        self.claims = Claims(connection)
        self.renewals = Renewals(connection)
        self.attempts = RunAttempts(connection)
        self.chunks = Chunks(connection)
        self.documents = Documents(connection)
        self.counts = RecordCounts(connection)
        self.changes = RecordChanges(connection)
        self.reports = Reports(connection)
        self.batch_reports = BatchReports(connection)
        self.report_pages = ReportPages(connection)
        self.stalls = RunStalls(connection)
        self.performance = Performance(connection)
        self.upkeep = Upkeep(connection)
        self.audit = Audit(connection)
        self.activity = Activity(connection)
        self.totals = Totals(connection)
        self.vectors = Vectors(connection)

    def upgrade(self) -> None:
        """Bring the schema up to date; of a file that was replaced since it was opened, again.

        Raises:
            SchemaError: The database is newer than this program.
        """
        migrate(self.connection)

    @classmethod
    def open(cls, settings: DatabaseSettings, *, create: bool = True) -> CozoStore:
        """The store at ``settings.url``.

        Args:
            settings: Where it is.
            create: Create an embedded database that does not exist.

        Raises:
            StoreError: It can't be opened; the subclass says why.
        """
        return cls(connect(settings, create=create))

    def source(self, settings: SourceSettings) -> Source:
        """The source relation, after a check of the names of its columns.

        Raises:
            SourceError: The relation or a column does not exist, or can't be used.
        """
        source = Source(self.connection, settings)
        _ = source.types
        return source

    def health(self) -> Health:
        """Run one query, and time it."""
        began = time.perf_counter()
        version = schema_version(self.connection)
        seconds = time.perf_counter() - began
        driver = self.connection.driver
        return Health(self.connection.url, version, seconds, package_of(driver) if driver else "a Cozo server")

    @property
    def identity(self) -> str:
        """A random identifier of this database; its copies and backups have the same."""
        return identity(self.connection)

    @property
    def memory(self) -> dict[str, Any]:
        """The source, columns, model and prompt that earlier commands named; see :mod:`dobby_dagster.domain.remembered`."""
        return memory(self.connection)

    def remember(self, settings: Settings) -> dict[str, Any]:
        """Keep the source, the model and the prompt of ``settings`` as the defaults of later commands.

        Returns:
            What was remembered before, for :meth:`restore_memory`.
        """
        before = self.memory
        self.restore_memory(memory_of(settings, before))
        return before

    def restore_memory(self, memory: dict[str, Any]) -> None:
        """Remember ``memory``, which an earlier :meth:`remember` returned, and nothing else."""
        if memory != self.memory:
            set_meta(self.connection, "in_use", memory)

    def remember_relation(self, relation: str) -> None:
        """Keep ``relation`` as the source in use, with the columns that were remembered for it."""
        before = self.memory
        if before.get("relation", relation) != relation:
            set_meta(self.connection, "in_use", before | {"relation": relation})

    def check(self) -> list[str]:
        """Find damage: what is wrong with the stored data, one line each.

        SQLite checks its file page by page. Every row of every relation is read, and the ledger's invariants are
        checked for rows that are lost.
        """
        with self.connection.session():
            damage = self.connection.check()
            reading = read_everything(self.connection)
            damage += reading.problems
            return damage or [str(violation) for violation in self.audit.examine() if violation.is_loss]

    def backup(self, path: Path) -> Reading:
        """Write all data, the source relation included, to a new file; return what it contains.

        Raises:
            StoreError: See :func:`~dobby_dagster.store.maintenance.backup_file.write_backup`.
        """
        return write_backup(self.connection, path)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
