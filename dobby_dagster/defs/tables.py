"""The tables behind the assets: what is stored of each, and how it is loaded."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import dagster as dg
import pandas as pd
import pyarrow as pa

from dobby_dagster.defs.resources import CozoDatabase, PipelineOptions
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.states import State
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.monitoring.contract_results import note_batch
from dobby_dagster.pipeline.summarization.pending_records import PendingBatch, PendingRecords
from dobby_dagster.store.ledger.batch_reports import SUMMARY_COLUMNS
from dobby_dagster.store.ledger.record_states import Member


@dataclass(frozen=True)
class Table(ABC):
    """What is stored for one asset, under the recipe in use; ``run`` is the run that writes."""

    # The columns of a table without rows, by which a downstream asset may select; of metrics only the key is fixed.
    columns: ClassVar[Sequence[str]]

    database: CozoDatabase
    recipe: Recipe
    options: PipelineOptions
    run: RunId

    @abstractmethod
    def write(self, obj: Any) -> None:
        """Store what the asset returned."""

    @abstractmethod
    def rows(self, scope: Scope) -> list[dict[str, Any]]:
        """The stored rows of one partition."""

    def load(self, partitions: Sequence[BatchId], wanted: Any) -> Any:
        """All rows of ``partitions``, as a pandas DataFrame if ``wanted`` is that, otherwise as an Arrow table."""
        rows = [row for scope in self.scopes(partitions) for row in self.rows(scope)]
        frame = pd.DataFrame(rows, columns=None if rows else list(self.columns))
        return frame if wanted is pd.DataFrame else pa.Table.from_pylist(rows) if rows else pa.Table.from_pandas(frame)

    def scopes(self, partitions: Sequence[BatchId]) -> list[Scope]:
        """The scope of each partition."""
        return [Scope(self.recipe.id, batch, self.run) for batch in partitions]


@dataclass(frozen=True)
class PendingTable(Table):
    """Record versions that need a run, one row each."""

    columns = ("batch", *RecordVersion.__dataclass_fields__, "state")

    def write(self, obj: PendingRecords) -> None:
        """Give the state pending to versions that have no state yet, or that are unfinished again.

        Raises:
            DagsterInvariantViolationError: ``obj`` is something else.
        """
        if not isinstance(obj, PendingRecords):
            raise unsupported("pending", obj, "PendingRecords")
        for batch in obj.batches:
            fresh = [m for m in batch.members if m.state is None or m.state.state is State.SKIPPED]
            self.database.store.states.make_pending(fresh, Scope(self.recipe.id, batch.id, self.run))

    def rows(self, scope: Scope) -> list[dict[str, Any]]:
        """What is pending now, without contents."""
        return [_pending_row(scope.batch, member) for member in self._runnable(scope)]

    def load(self, partitions: Sequence[BatchId], wanted: Any) -> Any:
        """The pending members as objects if ``wanted`` is :class:`PendingRecords`, else their rows."""
        return (
            PendingRecords(self._batches(partitions)) if wanted is PendingRecords else super().load(partitions, wanted)
        )

    def _batches(self, partitions: Sequence[BatchId]) -> Iterator[PendingBatch]:
        for scope in self.scopes(partitions):
            yield PendingBatch(scope.batch, self._runnable(scope))

    def _runnable(self, scope: Scope) -> list[Member]:
        members = self.database.store.states.members_from(self.database.records(), scope)
        return [member for member in members if member.is_runnable(scope.batch, self.options.settings.max_retries)]


@dataclass(frozen=True)
class SummariesTable(Table):
    """Stored summaries, one row each; they are committed from a stream, see :class:`SummaryStream`."""

    columns = (*SUMMARY_COLUMNS, "partition")

    def write(self, obj: Any) -> None:
        """Refuse: summaries have states, and both are committed together.

        Raises:
            DagsterInvariantViolationError: Always.
        """
        raise unsupported("summaries", obj, "a SummaryStream")

    def rows(self, scope: Scope) -> list[dict[str, Any]]:
        """The summaries of the partition's records."""
        return [row | {"partition": scope.batch} for row in self.database.store.batch_reports.summaries(scope)]


@dataclass(frozen=True)
class MetricsTable(Table):
    """Metrics: ``batch``, and what :func:`~dobby_dagster.pipeline.reporting.batch_metrics.batch_metrics` returns."""

    columns = ("batch",)

    def write(self, obj: pa.Table | pd.DataFrame) -> None:
        """Store each row under its batch.

        Raises:
            DagsterInvariantViolationError: ``obj`` is no table.
        """
        if not isinstance(obj, pa.Table | pd.DataFrame):
            raise unsupported("metrics", obj, "a pandas DataFrame or an Arrow table")
        table = pa.Table.from_pandas(obj, preserve_index=False) if isinstance(obj, pd.DataFrame) else obj
        for row in table.to_pylist():
            values = json.loads(json.dumps({name: value for name, value in row.items() if name != "batch"}))
            scope = Scope(self.recipe.id, row["batch"], self.run)
            self.database.store.batch_reports.save_metrics(scope, values)
            note_batch(self.database.store, scope, self.recipe.model, values)

    def rows(self, scope: Scope) -> list[dict[str, Any]]:
        """The stored metrics of the partition."""
        return [
            {"batch": row["batch"], **row["values"]}
            for row in self.database.store.batch_reports.metrics(scope.batch)
            if row["recipe"] == scope.recipe
        ]


TABLES: dict[str, type[Table]] = {"pending": PendingTable, "summaries": SummariesTable, "metrics": MetricsTable}


def unsupported(table: str, obj: Any, expected: str) -> dg.DagsterInvariantViolationError:
    """The error of an asset that returned something which its table can't store."""
    return dg.DagsterInvariantViolationError(
        f"an asset of the table '{table}' returned {type(obj).__name__}; the CozoDB IO manager stores {expected} there"
    )


def _pending_row(batch: BatchId, member: Member) -> dict[str, Any]:
    state = member.state.state.value if member.state else ""
    return {"batch": batch, **asdict(member.version), "state": state}
