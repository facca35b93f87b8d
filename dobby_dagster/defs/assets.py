"""The assets, in the order of the story: what changed, what is to do, the summaries, how it went."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from dobby_dagster.defs import event_metadata
from dobby_dagster.defs.io_manager import RecordStream, Verdict
from dobby_dagster.defs.partitions import add_partitions, backfill_policy, record_batch_partitions
from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.defs.runs.crash_recovery import DEVICE_POOL
from dobby_dagster.defs.runs.step_retries import STEP_RETRIES, by_recommendation
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.settings import DagsterSettings

OWNERS = ["team:dobby"]
GROUP = "summaries"
BACKFILL_POLICY = backfill_policy(DagsterSettings().partitions_per_run)

source_records = dg.AssetSpec(
    "source_records",
    description="The rows to summarise: Dobby's own relation `record`, or one of yours. Dobby only reads it.",
    group_name=GROUP,
    kinds={"cozodb"},
    owners=OWNERS,
)


@dg.asset(deps=[source_records], group_name=GROUP, kinds={"cozodb", "python"}, owners=OWNERS, retry_policy=STEP_RETRIES)
@by_recommendation()
def record_batches(
    context: dg.AssetExecutionContext, database: CozoDatabase, options: PipelineOptions
) -> dg.MaterializeResult[None]:
    """Look for rows that are new, changed or gone, and cut what is to do into batches: each becomes a partition."""
    from dobby_dagster.pipeline.planning.planner import plan

    changes = plan(database.store, database.records(), options.batch_size)
    lacking = add_partitions(context.instance, database.store)
    return dg.MaterializeResult(metadata=event_metadata.plan_metadata(changes, lacking))


@dg.asset(
    deps=[record_batches],
    partitions_def=record_batch_partitions,
    backfill_policy=BACKFILL_POLICY,
    io_manager_key="cozo",
    metadata={"dobby/table": "pending"},
    group_name=GROUP,
    kinds={"cozodb", "arrow"},
    owners=OWNERS,
    retry_policy=STEP_RETRIES,
)
@by_recommendation()
def pending_records(
    context: dg.AssetExecutionContext, database: CozoDatabase, models: ModelPool, options: PipelineOptions
) -> pa.Table:
    """The record versions of each batch that have no summary yet from this model and prompt."""
    from dobby_dagster.pipeline.summarization.frames import pending_table

    database.store.recipes.remember(models.recipe)
    tables, source, begun = [], database.records(), []
    for batch in map(BatchId, context.partition_keys):
        scope = Scope(models.recipe.id, batch)
        todo = database.store.states.runnable(source, scope, options.max_retries)
        tables.append(pending_table(batch, todo))
        begun += [batch] if todo else []
        counts = database.store.states.counts(scope)
        metadata = event_metadata.pending_metadata(counts["members"], len(todo))
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch)
    database.store.attempts.note_run(models.recipe.id, begun, RunId(context.run_id))
    return pa.concat_tables(tables)


@dg.asset(
    partitions_def=record_batch_partitions,
    backfill_policy=BACKFILL_POLICY,
    io_manager_key="cozo",
    metadata={"dobby/table": "summaries"},
    group_name=GROUP,
    kinds={"pytorch", "huggingface", "cozodb"},
    owners=OWNERS,
    pool=DEVICE_POOL,
    retry_policy=STEP_RETRIES,
)
@by_recommendation()
def summaries(
    context: dg.AssetExecutionContext,
    pending_records: RecordStream,
    database: CozoDatabase,
    models: ModelPool,
    options: PipelineOptions,
) -> RecordStream:
    """A summary of each record by the local model, committed chunk by chunk; what fails is set aside with its error."""
    from dobby_dagster.pipeline.summarization.frames import outcome_frame, work_items
    from dobby_dagster.pipeline.summarization.summarizer import Summarizer

    verdicts: dict[str, Verdict] = {}

    def chunks() -> Iterator[pa.RecordBatch]:
        with Summarizer(
            database.store,
            models.engine,
            models.chosen_prompt,
            models.recipe,
            RunId(context.run_id),
            options.chunk_size,
        ) as summarizer:
            for batch, chunk in summarizer.summarize(work_items(frame) for frame in pending_records.chunks):
                yield outcome_frame(batch, chunk)
        for batch in map(BatchId, context.partition_keys):
            metadata, reason = event_metadata.summary_metadata(
                database.store, Scope(models.recipe.id, batch), options.failed_share_limit, options.unsure_below
            )
            context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch)
            verdicts[batch] = Verdict(metadata, reason)

    def ended() -> Mapping[str, Verdict]:
        return verdicts

    return RecordStream(chunks(), ended)


@dg.asset(
    deps=[summaries],
    partitions_def=record_batch_partitions,
    backfill_policy=BACKFILL_POLICY,
    io_manager_key="cozo",
    metadata={"dobby/table": "metrics"},
    group_name=GROUP,
    kinds={"cozodb", "arrow"},
    owners=OWNERS,
    retry_policy=STEP_RETRIES,
)
@by_recommendation()
def metrics(
    context: dg.AssetExecutionContext, database: CozoDatabase, models: ModelPool, options: PipelineOptions
) -> pa.Table:
    """How each batch went: counts, speed, latency, memory, errors, confidence."""
    from dobby_dagster.pipeline.reporting.batch_metrics import batch_metrics
    from dobby_dagster.store.ledger.record_states import no_batch

    rows: list[dict[str, Any]] = []
    for batch in map(BatchId, context.partition_keys):
        values = batch_metrics(database.store, Scope(models.recipe.id, batch), options.unsure_below)
        if not values["records"]:
            raise no_batch(batch)
        rows.append({"batch": batch, **values})
        metadata = event_metadata.metric_metadata(values)
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch)
    return pa.Table.from_pylist(rows)
