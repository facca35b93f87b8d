"""What each asset's table is in the store: how it is written, read, and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import pyarrow as pa

from dobby_dagster.defs.resources import CozoDatabase, PipelineOptions
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.states import PENDING
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.progress import report
from dobby_dagster.pipeline.summarization.frames import chunk_of, pending_table, work_frame
from dobby_dagster.pipeline.summarization.summarizer import Item
from dobby_dagster.store.ledger.record_states import Member
from dobby_dagster.store.source.source_relation import Source


class Table(Protocol):
    """A table of the store."""

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Store rows; for a stream, one chunk as one transaction."""
        ...

    def read(self, partitions: list[BatchId]) -> pa.Table:
        """The rows of ``partitions``."""
        ...

    def stream(self, partitions: list[BatchId]) -> Iterator[pa.RecordBatch]:
        """The same, a chunk at a time."""
        ...


@dataclass(frozen=True)
class PendingTable:
    """Record versions that are to do; streamed with their contents."""

    database: CozoDatabase
    recipe: Recipe
    options: PipelineOptions
    run: RunId

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Give the state pending to versions that have none, or whose content came back."""
        fresh: dict[BatchId, list[RecordVersion]] = {}
        for row in data.to_pylist():
            if row["state"] in ("", "skipped"):
                version = RecordVersion(row["source"], row["key"], row["content_hash"], row["priority"], row["size"])
                fresh.setdefault(row["batch"], []).append(version)
        for batch, versions in fresh.items():
            self.database.store.states.set_states(versions, PENDING, Scope(self.recipe.id, batch, self.run))

    def read(self, partitions: list[BatchId]) -> pa.Table:
        """What is to do now, without contents."""
        source = self.database.records()
        found = (pending_table(partition, self._members(source, partition)) for partition in partitions)
        return pa.concat_tables([pending_table(BatchId(""), []), *found])

    def stream(self, partitions: list[BatchId]) -> Iterator[pa.RecordBatch]:
        """Chunks with contents, partition by partition; each is read when it is asked for."""
        source = self.database.records()
        for partition in partitions:
            members = iter(self._members(source, partition))
            while chunk := list(islice(members, self.options.chunk_size)):
                found = source.get([member.version.key for member in chunk])
                yield work_frame(partition, [Item(m, found.get(m.version.key)) for m in chunk])

    def _members(self, source: Source, partition: BatchId) -> list[Member]:
        scope = Scope(self.recipe.id, partition)
        return self.database.store.states.runnable(source, scope, self.options.max_retries)


@dataclass(frozen=True)
class SummariesTable:
    """Summaries and the states they bring; written chunk by chunk, each one transaction."""

    database: CozoDatabase
    recipe: Recipe
    options: PipelineOptions
    run: RunId

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Commit one chunk."""
        batch, chunk = chunk_of(data)
        self.database.store.chunks.commit(self.database.records(), chunk, Scope(self.recipe.id, batch, self.run))
        report("summarizing", len(chunk.outcomes), sum(outcome.inferred for outcome in chunk.outcomes))

    def read(self, partitions: list[BatchId]) -> pa.Table:
        """All stored summaries of the partitions' records under the recipe in use."""
        rows = []
        for partition in partitions:
            found = self.database.store.reports.batch_summaries(Scope(self.recipe.id, partition))
            rows += [row | {"partition": partition} for row in found]
        return pa.Table.from_pylist(rows) if rows else pa.table({"partition": pa.array([], pa.string())})

    def stream(self, partitions: list[BatchId]) -> Iterator[pa.RecordBatch]:
        """The same, a partition at a time."""
        for partition in partitions:
            yield from self.read([partition]).to_batches()


@dataclass(frozen=True)
class MetricsTable:
    """Metrics, one row per partition.

    Columns: ``batch`` and those of :func:`~dobby_dagster.pipeline.reporting.batch_metrics.batch_metrics`.
    """

    database: CozoDatabase
    recipe: Recipe
    options: PipelineOptions
    run: RunId

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Store each row under its batch and the recipe in use."""
        for row in data.to_pylist():
            values = json.loads(json.dumps({name: value for name, value in row.items() if name != "batch"}))
            self.database.store.reports.save_metrics(Scope(self.recipe.id, row["batch"]), values)

    def read(self, partitions: list[BatchId]) -> pa.Table:
        """The stored rows."""
        found = self.database.store.reports.metrics()
        rows = [
            {"batch": row["batch"], **row["values"]}
            for row in found
            if row["batch"] in partitions and row["recipe"] == self.recipe.id
        ]
        return pa.Table.from_pylist(rows) if rows else pa.table({"batch": pa.array([], pa.string())})

    def stream(self, partitions: list[BatchId]) -> Iterator[pa.RecordBatch]:
        """The same, a partition at a time."""
        for partition in partitions:
            yield from self.read([partition]).to_batches()


TABLES: dict[str, type[PendingTable | SummariesTable | MetricsTable]] = {
    "pending": PendingTable,
    "summaries": SummariesTable,
    "metrics": MetricsTable,
}
