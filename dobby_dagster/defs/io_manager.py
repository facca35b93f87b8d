"""The IO manager: the way in which the assets meet CozoDB."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterEvent

from dobby_dagster.defs.progress_log import ProgressLog
from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.defs.runs.step_retries import by_recommendation
from dobby_dagster.defs.summary_stream import PartitionEnd, PartitionStart, SummaryStream
from dobby_dagster.domain import heartbeat
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import NO_RUN, BatchId, RunId

if TYPE_CHECKING:
    from dobby_dagster.defs.tables import Table


class CozoIOManager(dg.ConfigurableIOManager):
    """Stores what the assets return, and loads it as the type that a downstream asset asks for.

    An asset names its table by ``dobby/table`` in its definition metadata: ``pending``, ``summaries`` or ``metrics``.
    An input is loaded as its annotation says, :class:`pyarrow.Table` or :class:`pandas.DataFrame`, with all rows of its
    partitions::

        @dg.asset(partitions_def=record_batch_partitions, backfill_policy=dg.BackfillPolicy.single_run())
        def short_summaries(summaries: pd.DataFrame) -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata={"short": int((summaries["text"].str.len() < 40).sum())})
    """

    database: dg.ResourceDependency[CozoDatabase]
    models: dg.ResourceDependency[ModelPool]
    options: dg.ResourceDependency[PipelineOptions]

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["CozoIOManager"]:
        """Watch the run while it lasts: if it makes no progress, its process is killed."""
        from dobby_dagster.domain.stall import StallKind
        from dobby_dagster.pipeline.monitoring.run_watchdog import watched

        if context.run is None:
            yield self
            return
        deadlines = {
            StallKind.INFERENCE: self.models.stall_seconds, StallKind.PIPELINE: self.options.settings.stall_seconds,
        }  # fmt: skip
        with watched(RunId(context.run.run_id), self.database.settings, deadlines):
            yield self

    def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[DagsterEvent]:  # type: ignore[override]
        """Store what an asset returned; a stream of summaries is committed chunk by chunk.

        Raises:
            Failure: Some partition has more failed records than the limit; everything that succeeded is stored.
        """
        with by_recommendation():
            heartbeat.commit()
            table = self._table(context, RunId(context.run_id))
            if isinstance(obj, SummaryStream):
                yield from self._commit(context, obj)
            else:
                table.write(obj)

    def _commit(self, context: dg.OutputContext, stream: SummaryStream) -> Iterator[DagsterEvent]:
        """Commit each chunk as it comes, and report each partition as soon as it ends."""
        from dobby_dagster.pipeline.progress import report

        source, store = self.database.records(), self.database.store
        last = max(context.asset_partition_keys)
        failed: dict[str, str] = {}
        progress = ProgressLog(context.log)
        with closing(stream.events) as events:  # when a run is stopped, claims are released now, not at process exit
            for event in events:
                if isinstance(event, PartitionStart):
                    progress.start(event)
                    continue
                if not isinstance(event, PartitionEnd):
                    scope, chunk = event
                    committed = store.chunks.commit(source, chunk, scope)
                    progress.committed(chunk)
                    self._tell_taken_over(context, stream, scope.batch, len(committed.taken_over))
                    heartbeat.commit()
                    report("summarizing", len(chunk.outcomes), sum(outcome.inferred for outcome in chunk.outcomes))
                    continue
                if event.failure:
                    failed[event.batch] = event.failure
                if failed or event.batch != last:  # after the last one Dagster reports all partitions of the run itself
                    yield _partition_event(context, event)
        if failed:
            page = f"/assets/{'/'.join(context.asset_key.path)}?view=events&partition="
            raise dg.Failure(
                "; ".join(f"{partition}: {reason}" for partition, reason in failed.items()),
                metadata={partition: dg.MetadataValue.url(page + partition) for partition in failed},
                allow_retries=False,
            )

    @staticmethod
    def _tell_taken_over(context: dg.OutputContext, stream: SummaryStream, batch: BatchId, records: int) -> None:
        stream.taken_over[batch] += records
        if records:
            context.log.warning(
                f"{batch}: {counted(records, 'record')} taken over by another run while this one was suspended or cut "
                "off from the database; what that run stores counts"
            )

    @by_recommendation()
    def load_input(self, context: dg.InputContext) -> Any:
        """Load the partitions of an asset's table as the type of the input."""
        heartbeat.commit()
        upstream = context.upstream_output
        if upstream is None:
            raise dg.DagsterInvariantViolationError("the input has no upstream asset")
        partitions = sorted(map(BatchId, context.asset_partition_keys)) if context.has_asset_partitions else []
        return self._table(upstream, NO_RUN).load(partitions, context.dagster_type.typing_type)

    def _table(self, context: dg.OutputContext, run: RunId) -> "Table":
        from dobby_dagster.defs.tables import TABLES

        name = (context.definition_metadata or {}).get("dobby/table")
        kind = TABLES.get(str(name))
        if kind is None:
            raise dg.DagsterInvariantViolationError(
                f"asset {context.asset_key.to_user_string()} has 'dobby/table' = {name!r}; "
                f"tables are: {', '.join(TABLES)}"
            )
        return kind(self.database, self.models.recipe, self.options, run)


def _partition_event(context: dg.OutputContext, end: PartitionEnd) -> DagsterEvent:
    """The event that shows a partition in the UI: materialized, or observed if it failed."""
    if end.failure:
        observed = dg.AssetObservation(context.asset_key, partition=end.batch, metadata=end.metadata)
        return DagsterEvent.asset_observation(context.step_context, observed)
    made = dg.AssetMaterialization(context.asset_key, partition=end.batch, metadata=end.metadata)
    return DagsterEvent.asset_materialization(context.step_context, made)
