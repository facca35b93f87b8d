"""The assets, in the order of the story: what changed, what is pending, the summaries, what they make, how it went."""

from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import dagster as dg
import pyarrow as pa

from dobby_dagster.defs import event_metadata
from dobby_dagster.defs.partitions import add_partitions, backfill_policy, record_batch_partitions
from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.defs.runs.device_pool import DEVICE_POOL
from dobby_dagster.defs.runs.device_wait import device_wait_seconds
from dobby_dagster.defs.runs.step_retries import STEP_RETRIES, by_recommendation
from dobby_dagster.defs.summary_stream import PartitionEnd, PartitionStart, SummaryEvent, SummaryStream
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.settings import DagsterSettings
from dobby_dagster.pipeline.summarization.pending_records import PendingBatch, PendingRecords

OWNERS = ["team:dobby"]
BACKFILL_POLICY = backfill_policy(DagsterSettings().partitions_per_run)

source_records = dg.AssetSpec(
    "source_records",
    description="The rows to summarise: Dobby's own relation `record`, or one of yours. Dobby only reads it.",
    kinds={"cozodb"},
    group_name="source",
    owners=OWNERS,
)


def per_batch(
    table: str, kinds: set[str], group: str, **options: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The decorator of an asset with a partition per batch, whose output the IO manager stores in ``table``."""
    decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        partitions_def=record_batch_partitions,
        backfill_policy=BACKFILL_POLICY,
        io_manager_key="cozo",
        metadata=event_metadata.table_metadata(table),
        kinds=kinds,
        retry_policy=STEP_RETRIES,
        group_name=group,
        owners=OWNERS,
        **options,
    )
    return decorator


@dg.asset(
    deps=[source_records], group_name="source", kinds={"cozodb", "python"}, owners=OWNERS, retry_policy=STEP_RETRIES
)
@by_recommendation()
def record_batches(
    context: dg.AssetExecutionContext, database: CozoDatabase, models: ModelPool, options: PipelineOptions
) -> dg.MaterializeResult[None]:
    """Find new, changed and deleted rows, and cut them into batches: each becomes a partition."""
    from dobby_dagster.pipeline.callees.outdated_callers import redo_outdated
    from dobby_dagster.pipeline.outlines.derivation import derive_due
    from dobby_dagster.pipeline.planning.planner import plan

    store, source, recipe = database.store, database.records(), models.recipe
    changes = plan(store, source, options.settings.batch_size, callees_first=recipe.callees > 0)
    redo_outdated(store, source, recipe)
    outlined = options.settings.outlines and not store.outlines.is_empty()
    if outlined and derive_due(store, source, recipe.id, models.content_room).written:
        changes.add(plan(store, source, options.settings.batch_size))
    observed = event_metadata.source_metadata(store, source, changes)
    context.log_event(dg.AssetObservation(source_records.key, metadata=observed))
    added = add_partitions(context.instance, store)
    return dg.MaterializeResult(metadata=event_metadata.plan_metadata(changes, added))


@per_batch("pending", {"cozodb", "arrow"}, "inference", deps=[record_batches])
@by_recommendation()
def pending_records(
    context: dg.AssetExecutionContext, database: CozoDatabase, models: ModelPool, options: PipelineOptions
) -> PendingRecords:
    """The record versions of each batch that have no summary yet from this model and prompt."""
    store, source = database.store, database.records()
    store.recipes.remember(models.recipe)
    batches = []
    for batch in map(BatchId, context.partition_keys):
        members = store.states.members_from(source, Scope(models.recipe.id, batch))
        pending = [member for member in members if member.is_runnable(batch, options.settings.max_retries)]
        batches.append(PendingBatch(batch, pending))
        metadata = event_metadata.pending_metadata(len(members), len(pending))
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch)
    store.attempts.note_run(models.recipe.id, [b.id for b in batches if b.members], RunId(context.run_id))
    return PendingRecords(batches)


@by_recommendation()
def _summaries(
    context: dg.AssetExecutionContext,
    pending_records: PendingRecords,
    database: CozoDatabase,
    models: ModelPool,
    options: PipelineOptions,
) -> SummaryStream:
    """A summary of each record by the local model, committed chunk by chunk; failed records are set aside."""
    from dobby_dagster.pipeline.summarization.summarizer import Summarizer

    taken_over: Counter[BatchId] = Counter()

    def events() -> Generator[SummaryEvent, None, None]:
        store, source = database.store, database.records()
        waited = device_wait_seconds(context.instance, context.run)
        if waited is not None:
            store.activity.note_device_wait(RunId(context.run_id), waited)
        with (
            models.engine() as engine,
            Summarizer(
                store,
                source,
                engine,
                models.chosen_prompt,
                models.recipe,
                options.settings.chunk_size,
                options.settings.max_retries,
                options.settings.claim_seconds,
            ) as summarizer,
        ):
            for batch in pending_records.batches:
                yield PartitionStart(batch.id, len(batch.members))
                scope = Scope(models.recipe.id, batch.id, RunId(context.run_id))
                for chunk in summarizer.summarize(batch.members, scope):
                    yield scope, chunk
                metadata, failure = event_metadata.summary_metadata(
                    store, source, scope, options.settings.failed_share_limit, options.settings.unsure_below
                )
                metadata |= {} if waited is None else {"device_wait_seconds": waited}
                metadata |= {"taken_over": taken_over[batch.id]} if taken_over[batch.id] else {}
                context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch.id)
                yield PartitionEnd(batch.id, metadata, failure)

    return SummaryStream(events(), taken_over)


def summaries_in(pool: str) -> dg.AssetsDefinition:
    """The asset ``summaries``, whose runs need a slot of ``pool``."""
    made = per_batch("summaries", {"pytorch", "huggingface", "cozodb"}, "inference", pool=pool, name="summaries")
    return made(_summaries)


summaries = summaries_in(DEVICE_POOL)


@per_batch("outlines", {"cozodb"}, "inference", deps=[summaries])
@by_recommendation()
def outlines(
    context: dg.AssetExecutionContext, database: CozoDatabase, models: ModelPool, options: PipelineOptions
) -> None:
    """The files and packages whose parts each batch completed: rows of the source, which come back in a later batch.

    With `prompt.callees`, callers of what has another summary are returned to pending as well.
    """
    from dobby_dagster.pipeline.callees.outdated_callers import redo_outdated
    from dobby_dagster.pipeline.outlines.derivation import Derived, derive_above

    store, source = database.store, database.records()
    for batch in map(BatchId, context.partition_keys):
        keys = [member.version.key for member in store.states.members(Scope(models.recipe.id, batch))]
        redone = redo_outdated(store, source, models.recipe, keys)
        derived = Derived()
        if options.settings.outlines:
            derived = derive_above(store, source, models.recipe.id, keys, models.content_room)
        metadata = event_metadata.outline_metadata(derived)
        metadata |= {"callers_redone": sum(redone.values())} if models.recipe.callees else {}
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch)


@per_batch("documents", {"cozodb"}, "search", deps=[summaries])
@by_recommendation()
def search_index(context: dg.AssetExecutionContext, database: CozoDatabase, models: ModelPool) -> None:
    """The index by which `dobby search` finds the summaries of each batch; only what is missing is added."""
    from dobby_dagster.search.search_index import update_batch
    from dobby_dagster.search.vector_index import index_if_possible

    store, source, settings = database.store, database.records(), database.keyring.settings.search
    for batch in map(BatchId, context.partition_keys):
        added = update_batch(store, source, Scope(models.recipe.id, batch))
        vectors, problem = index_if_possible(store, source, models.recipe.id, batch, settings)
        metadata: dict[str, int | str] = {"documents_added": added, "vectors_added": vectors}
        if problem:
            context.log.warning(f"{batch} can't be found by meaning: {problem}")
            metadata["vectors_missing"] = problem
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch)


@per_batch("metrics", {"cozodb", "arrow"}, "reporting", deps=[summaries])
@by_recommendation()
def metrics(
    context: dg.AssetExecutionContext, database: CozoDatabase, models: ModelPool, options: PipelineOptions
) -> pa.Table:
    """How each batch went: counts, speed, latency, memory, errors, confidence."""
    from dobby_dagster.pipeline.reporting.batch_metrics import batch_metrics
    from dobby_dagster.store.ledger.record_states import no_batch

    rows: list[dict[str, Any]] = []
    for batch in map(BatchId, context.partition_keys):
        values = batch_metrics(database.store, Scope(models.recipe.id, batch), options.settings.unsure_below)
        if not values["records"]:
            raise no_batch(batch)
        rows.append({"batch": batch, **values})
        metadata = event_metadata.metric_metadata(values)
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=batch)
    return pa.Table.from_pylist(rows)


# All that a run makes of a batch, in the order of the story.
PER_BATCH = (pending_records, summaries, outlines, search_index, metrics)
