"""The sensor ``new_records``: from new rows in the source relation to runs, unattended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from dobby_dagster.defs import event_metadata
from dobby_dagster.defs.assets import record_batches, source_records
from dobby_dagster.defs.automation.source_cursor import Cursor
from dobby_dagster.defs.automation.tick_store import with_store
from dobby_dagster.defs.jobs import plan_batches, summarize_batches
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.runs.batch_runs import ACTIVE, REQUESTED_BY_TAG, active_runs, range_tags, ranges
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.domain.scope import BatchId
    from dobby_dagster.store.cozo_store import CozoStore

NAME = "new_records"
# A tick has sixty seconds. Polling stops by itself, and batches are limited; the next tick goes on.
POLL_SECONDS = 10.0
BATCHES_PER_TICK = 100
OUTLINES_PER_TICK = 200
# To observe the source all its rows are counted: about a second a million.
OBSERVATION_SECONDS = 300.0


@dataclass(frozen=True)
class Tick:
    """What the steps of a tick read; ``now`` is in seconds since the epoch."""

    settings: Settings
    store: "CozoStore"
    instance: dg.DagsterInstance
    now: float


@dataclass(frozen=True)
class Step:
    """What a step of a tick decided: the cursor for the next step, and what Dagster is to do.

    ``reason`` is why it starts no run, and is shown in the tick where no step starts one.
    """

    cursor: Cursor
    requests: Sequence[dg.RunRequest] = ()
    partitions: "Sequence[BatchId]" = ()
    events: Sequence[dg.AssetMaterialization | dg.AssetObservation] = ()
    reason: str = ""


def new_records_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor for ``settings``."""
    automation = settings.automation

    @dg.sensor(
        name=NAME,
        jobs=[plan_batches, summarize_batches],
        minimum_interval_seconds=automation.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if automation.enabled else dg.DefaultSensorStatus.STOPPED,
        description="Polls the source for new and changed rows, cuts them into batches and starts runs. "
        f"Records that don't fill a batch are gathered for up to {automation.gather_seconds:g} s.",
    )
    def new_records(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return with_store(settings, lambda store: evaluate(settings, store, context.instance, context.cursor))

    return new_records


def evaluate(
    settings: Settings, store: "CozoStore", instance: dg.DagsterInstance, cursor: str | None
) -> dg.SensorResult:
    """One tick; Dagster adds its partitions first, then starts its runs, then stores its cursor.

    Each step is safe to repeat: batches stay cut, adding a partition twice has no effect, and a second run of a batch
    finds its records claimed or finished. So a crash between two steps, or a lost cursor, loses and repeats no work.

    Raises:
        StoreError: The database can't be used.
        SourceError: The relation can't be used.
    """
    tick = Tick(settings, store, instance, time.time())
    steps = [Step(Cursor.of(cursor, store.identity, tick.now))]
    for step in (_request_full_scan, _derive_outlines, _poll_source, _add_partitions, _request_runs):
        steps.append(step(tick, steps[-1].cursor))
    requests = [request for step in steps for request in step.requests]
    partitions = [batch for step in steps for batch in step.partitions]
    reasons = "; ".join(step.reason for step in steps if step.reason)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(reasons),
        cursor=steps[-1].cursor.model_dump_json(),
        dynamic_partitions_requests=[record_batch_partitions.build_add_request(partitions)] if partitions else [],
        asset_events=[event for step in steps for event in step.events],
    )


def _request_full_scan(tick: Tick, cursor: Cursor) -> Step:
    """Request a run that reads every row, where only that finds all changes; it would not fit into a tick."""
    from dobby_dagster.pipeline.planning.planner import needs_full_scan
    from dobby_dagster.store.source.change_tracking import prepare

    automation = tick.settings.automation
    state = prepare(tick.store.source(tick.settings.source))
    if not needs_full_scan(state) and state.method != "watermark":
        return Step(cursor)
    if tick.instance.get_runs(filters=dg.RunsFilter(job_name=plan_batches.name, statuses=list(ACTIVE)), limit=1):
        return Step(cursor, reason="a full scan is running")
    interval = automation.retry_seconds if state.compared_at is None else automation.compare_seconds
    wait = cursor.compared_at + interval - tick.now
    if wait > 0:
        return Step(cursor, reason=f"next full scan in {wait:.0f} s ({state.why})")
    key = f"compare-{cursor.database[:8]}-{int(tick.now)}"
    request = dg.RunRequest(run_key=key, job_name=plan_batches.name, tags={REQUESTED_BY_TAG: NAME})
    return Step(cursor.model_copy(update={"compared_at": tick.now}), [request])


def _derive_outlines(tick: Tick, cursor: Cursor) -> Step:
    """Derive files and packages that no batch brings back: of deleted parts, or of killed runs; some each tick."""
    from dobby_dagster.inference.content_room import content_room
    from dobby_dagster.inference.prompts import chosen_prompt
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.pipeline.outlines.derivation import derive_due

    settings = tick.settings
    if not settings.pipeline.outlines or tick.store.outlines.is_empty():
        return Step(cursor)
    source, recipe = tick.store.source(settings.source), recipe_for(settings).id
    room = content_room(settings.model, settings.inference, chosen_prompt(settings.prompt))
    derived = derive_due(tick.store, source, recipe, room, cursor.outline, OUTLINES_PER_TICK)
    return Step(cursor.model_copy(update={"outline": derived.last}))


def _poll_source(tick: Tick, cursor: Cursor) -> Step:
    """Find changes and cut batches: full ones at once, a smaller one when its records were gathered long enough."""
    from dobby_dagster.pipeline.planning.planner import cut_batches, poll

    automation, source = tick.settings.automation, tick.store.source(tick.settings.source)
    changes = poll(tick.store, source, POLL_SECONDS)
    partial = cursor.waiting_since > 0 and tick.now - cursor.waiting_since >= automation.gather_seconds
    size = tick.settings.pipeline.batch_size
    first = tick.settings.prompt.callees > 0
    cut_batches(tick.store, source, size, changes, partial=partial, limit=BATCHES_PER_TICK, callees_first=first)
    waiting = tick.store.versions.waiting(source.settings.relation)
    since = cursor.waiting_since if cursor.waiting_since and not changes.batches else tick.now
    cursor = cursor.model_copy(update={"waiting_since": since if waiting else 0.0})
    reason = f"{counted(waiting, 'record')} waiting for a batch"
    if waiting:
        reason += f", gathering for another {max(0.0, since + automation.gather_seconds - tick.now):.0f} s"
    if not changes.batches and tick.now - cursor.told_at <= automation.stale_seconds / 4:
        return Step(cursor, reason=reason)
    metadata = event_metadata.plan_metadata(changes, [batch.id for batch in changes.batches])
    events: list[dg.AssetMaterialization | dg.AssetObservation]
    events = [dg.AssetMaterialization(record_batches.key, metadata=metadata)]
    told = {"told_at": tick.now}
    if tick.now - cursor.observed_at >= OBSERVATION_SECONDS:
        observed = event_metadata.source_metadata(tick.store, source, changes)
        events.append(dg.AssetObservation(source_records.key, metadata=observed))
        told["observed_at"] = tick.now
    return Step(cursor.model_copy(update=told), events=events, reason=reason)


def _add_partitions(tick: Tick, cursor: Cursor) -> Step:
    planned = [batch.id for batch in tick.store.versions.batches(after=cursor.added)]
    if not planned:
        return Step(cursor)
    known: set[str] = set()
    if not cursor.added:
        known.update(tick.instance.get_dynamic_partitions(str(record_batch_partitions.name)))
    missing = [batch for batch in planned if batch not in known]
    return Step(cursor.model_copy(update={"added": planned[-1]}), partitions=missing)


def _request_runs(tick: Tick, cursor: Cursor) -> Step:
    """Request runs of the batches after the cursor that have unfinished records and are in no active run."""
    from dobby_dagster.inference.recipe import recipe_for

    settings, store, active = tick.settings, tick.store, active_runs(tick.instance)
    free = settings.automation.runs_per_tick - active.queued
    if free <= 0:
        return Step(cursor, reason=f"{counted(active.queued, 'run')} queued already")
    longest = settings.dagster.partitions_per_run
    new = [batch.id for batch in store.versions.batches(after=cursor.asked, limit=free * longest)]
    if not new:
        return Step(cursor, reason="no new batches")
    recipe = recipe_for(settings).id
    unfinished = store.states.unfinished(settings.source.relation, recipe, settings.pipeline.max_retries, new)
    wanted = [batch for batch in unfinished if batch not in active.batches]
    if not wanted:
        reason = "the new batches are finished or in a run already"
        return Step(cursor.model_copy(update={"asked": new[-1]}), reason=reason)
    all_ranges = ranges(wanted, longest)
    requests = [
        dg.RunRequest(
            run_key=f"{first}-{last}-{cursor.database[:8]}-{recipe}",
            job_name=summarize_batches.name,
            tags={**range_tags(first, last), REQUESTED_BY_TAG: NAME},
        )
        for first, last in all_ranges[:free]
    ]
    end = all_ranges[:free][-1][1]
    store.attempts.note_request(recipe, [batch for batch in wanted if batch <= end])
    return Step(cursor.model_copy(update={"asked": end if len(all_ranges) > free else new[-1]}), requests)
