"""The sensor ``new_records``: from rows in the source relation to runs, unattended."""

import time
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from dobby_dagster.defs import event_metadata
from dobby_dagster.defs.assets import record_batches
from dobby_dagster.defs.automation.source_cursor import Cursor
from dobby_dagster.defs.automation.tick_store import opened
from dobby_dagster.defs.jobs import plan_batches, summarize_batches
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.runs.batch_runs import ASKED_BY_TAG, UNDER_WAY, range_tags, ranges, under_way
from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings

NAME = "new_records"
# A tick has sixty seconds. Looking and cutting end by themselves after a few; the rest is left to the next tick.
LOOK_SECONDS = 10.0
BATCHES_PER_TICK = 100


@dataclass
class Tick:
    """What one tick is to bring about, gathered step by step."""

    cursor: Cursor
    requests: list[dg.RunRequest] = field(default_factory=list)
    partitions: list[str] = field(default_factory=list)
    events: list[dg.AssetMaterialization] = field(default_factory=list)
    waiting: int = 0
    reasons: list[str] = field(default_factory=list)

    def move(self, **changes: Any) -> None:
        """Change the cursor."""
        self.cursor = self.cursor.model_copy(update=changes)

    def result(self) -> dg.SensorResult:
        """The same as Dagster takes it; partitions are added first, then runs are made, then the cursor is kept."""
        waiting = f"{counted(self.waiting, 'record')} waiting to be batched"
        skip = None if self.requests else dg.SkipReason("; ".join([waiting, *self.reasons]))
        return dg.SensorResult(
            run_requests=self.requests,
            skip_reason=skip,
            cursor=self.cursor.model_dump_json(),
            dynamic_partitions_requests=[record_batch_partitions.build_add_request(self.partitions)]
            if self.partitions
            else [],
            asset_events=self.events,
        )


def new_records_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor for ``settings``."""
    automation = settings.automation

    @dg.sensor(
        name=NAME,
        jobs=[plan_batches, summarize_batches],
        minimum_interval_seconds=automation.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if automation.enabled else dg.DefaultSensorStatus.STOPPED,
        description="Looks for rows that are new or changed, cuts them into batches and starts runs for them. "
        f"Fewer than a batch are gathered for up to {automation.gather_seconds:g} s.",
    )
    def new_records(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            return evaluate(settings, context.instance, context.cursor)
        except (StoreAccessError, StoreBusyError) as error:
            return dg.SkipReason(f"the database can't be looked at now: {error}")

    return new_records


def evaluate(settings: Settings, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    """One tick.

    Each step is safe to repeat: a batch once cut stays cut, adding a partition again does nothing, and a second run
    of the same batch finds its records claimed or done. So a crash between any two steps, or a cursor that was not
    kept, loses and doubles nothing.

    Raises:
        StoreError: The database can't be looked at.
        SourceError: The relation can't be used.
    """
    now = time.time()
    store = opened(settings)
    tick = Tick(Cursor.of(cursor, store.identity, now))
    _look(tick, settings, instance, store, now)
    _add_partitions(tick, store, instance)
    _ask(tick, settings, instance, store)
    return tick.result()


def _look(tick: Tick, settings: Settings, instance: dg.DagsterInstance, store: Any, now: float) -> None:
    from dobby_dagster.pipeline.planning.planner import cut, look, must_compare
    from dobby_dagster.store.source.change_tracking import prepare

    automation, source = settings.automation, store.source(settings.source)
    state = prepare(source)
    if must_compare(state) or state.method == "watermark":
        _ask_to_compare(tick, settings, instance, state, now)
    changes = look(store, source, LOOK_SECONDS)
    gathered = tick.cursor.waiting_since > 0 and now - tick.cursor.waiting_since >= automation.gather_seconds
    cut(store, source, settings.pipeline.batch_size, changes, partial=gathered, limit=BATCHES_PER_TICK)
    tick.waiting = store.versions.waiting(settings.source.relation)
    began = tick.cursor.waiting_since if tick.cursor.waiting_since and not changes.batches else now
    tick.move(waiting_since=began if tick.waiting else 0.0)
    if tick.waiting:
        tick.reasons.append(f"they are gathered for another {max(0.0, began + automation.gather_seconds - now):.0f} s")
    if changes.batches or now - tick.cursor.told_at > automation.stale_seconds / 4:
        metadata = event_metadata.plan_metadata(changes, [batch.id for batch in changes.batches])
        tick.events.append(dg.AssetMaterialization(record_batches.key, metadata=metadata))
        tick.move(told_at=now)


def _ask_to_compare(tick: Tick, settings: Settings, instance: dg.DagsterInstance, state: Any, now: float) -> None:
    """Reading every row is a run of its own: it would not fit into a tick."""
    automation = settings.automation
    wait = automation.retry_seconds if state.compared_at is None else automation.compare_seconds
    active = instance.get_runs(filters=dg.RunsFilter(job_name=plan_batches.name, statuses=list(UNDER_WAY)), limit=1)
    if active:
        tick.reasons.append("a run is reading every row")
    elif now - tick.cursor.compared_at < wait:
        left = wait - (now - tick.cursor.compared_at)
        tick.reasons.append(f"every row is read again in {left:.0f} s ({state.why})")
    else:
        key = f"compare-{tick.cursor.database[:8]}-{int(now)}"
        tick.requests.append(dg.RunRequest(run_key=key, job_name=plan_batches.name, tags={ASKED_BY_TAG: NAME}))
        tick.move(compared_at=now)


def _add_partitions(tick: Tick, store: Any, instance: dg.DagsterInstance) -> None:
    planned = [batch.id for batch in store.versions.batches(after=tick.cursor.added)]
    if planned and not tick.cursor.added:
        known = set(instance.get_dynamic_partitions(str(record_batch_partitions.name)))
        tick.partitions = [batch for batch in planned if batch not in known]
    else:
        tick.partitions = planned
    if planned:
        tick.move(added=planned[-1])


def _ask(tick: Tick, settings: Settings, instance: dg.DagsterInstance, store: Any) -> None:
    """Ask for runs of the batches past the cursor that have work in them and are in no run yet."""
    from dobby_dagster.inference.recipe import recipe_for

    automation, relation = settings.automation, settings.source.relation
    now_under_way = under_way(instance)
    room = automation.runs_per_tick - now_under_way.waiting
    if room <= 0:
        tick.reasons.append(f"{counted(now_under_way.waiting, 'run')} already queued")
        return
    longest = settings.dagster.partitions_per_run
    fresh = [batch.id for batch in store.versions.batches(after=tick.cursor.asked, limit=room * longest)]
    if not fresh:
        tick.reasons.append("no batch is new")
        return
    recipe = recipe_for(settings).id
    left = store.states.unfinished(relation, recipe, settings.pipeline.max_retries, fresh)
    wanted = [batch for batch in left if batch not in now_under_way.batches]
    chosen = ranges(wanted, longest)[:room]
    for first, last in chosen:
        key = f"{first}-{last}-{tick.cursor.database[:8]}-{recipe}"
        tags = {**range_tags(first, last), ASKED_BY_TAG: NAME}
        tick.requests.append(dg.RunRequest(run_key=key, job_name=summarize_batches.name, tags=tags))
    asked = [batch for batch in wanted if chosen and batch <= chosen[-1][1]]
    store.attempts.note_request(recipe, asked)
    complete = len(chosen) == len(ranges(wanted, longest))
    tick.move(asked=fresh[-1] if complete else chosen[-1][1])
    if not wanted:
        tick.reasons.append("the new batches are done, or in a run already")
