"""The schedule ``retry_failed``: retries batches with exponential backoff, up to a limit."""

from typing import TYPE_CHECKING

import dagster as dg

from dobby_dagster.defs.automation.tick_store import with_store
from dobby_dagster.defs.jobs import summarize_batches
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.runs.batch_runs import REQUESTED_BY_TAG, active_runs, range_tags, ranges
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore

NAME = "retry_failed"


def retry_failed_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule for ``settings``."""
    automation = settings.automation

    @dg.schedule(
        name=NAME,
        job=summarize_batches,
        cron_schedule="* * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING if automation.enabled else dg.DefaultScheduleStatus.STOPPED,
        description="Retries batches that were started but not finished, or with failed records whose error recommends "
        f"a retry: after {automation.retry_seconds:g} s, then with exponential backoff, at most "
        f"{counted(settings.pipeline.max_retries, 'time')}.",
    )
    def retry_failed(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        time = context.scheduled_execution_time.isoformat()
        return with_store(settings, lambda store: evaluate(settings, store, context.instance, time))

    return retry_failed


def evaluate(
    settings: Settings, store: "CozoStore", instance: dg.DagsterInstance, time: str
) -> list[dg.RunRequest] | dg.SkipReason:
    """The runs to retry now; ``time`` makes their run keys unique, since a batch can be retried more than once."""
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.pipeline.planning.retry_policy import retry_candidates

    active = active_runs(instance)
    if active.backfills:
        return dg.SkipReason(f"waiting for {counted(active.backfills, 'backfill')} to end")
    # A batch without a partition here was planned under another DAGSTER_HOME, which retries it.
    name = str(record_batch_partitions.name)
    candidates = [
        candidate
        for candidate in retry_candidates(store, settings, recipe_for(settings).id)
        if candidate.batch not in active.batches and instance.has_dynamic_partition(name, candidate.batch)
    ]
    due = [candidate.batch for candidate in candidates if candidate.is_due]
    free = settings.automation.runs_per_tick - active.queued
    if not due:
        given_up = sum(candidate.given_up for candidate in candidates)
        waiting = counted(len(candidates) - given_up, "batch")
        return dg.SkipReason(f"{waiting} waiting for a retry, {given_up} given up (see dobby doctor)")
    if free <= 0:
        return dg.SkipReason(f"{counted(len(due), 'batch')} due, but {counted(active.queued, 'run')} queued already")
    return [
        dg.RunRequest(run_key=f"{time}-{first}-{last}", tags={**range_tags(first, last), REQUESTED_BY_TAG: NAME})
        for first, last in ranges(due, settings.dagster.partitions_per_run)[:free]
    ]
