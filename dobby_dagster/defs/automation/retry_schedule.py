"""The schedule ``retry_failed``: what may get better is run again, later and later, and in the end no more."""

from typing import TYPE_CHECKING

import dagster as dg

from dobby_dagster.defs.automation.tick_store import opened
from dobby_dagster.defs.jobs import summarize_batches
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.runs.batch_runs import ASKED_BY_TAG, range_tags, ranges, under_way
from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.pipeline.planning.retry_policy import Unsettled
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
        description="Runs batches again that hold failed records whose error recommends it, or that a run left "
        f"unfinished: after {automation.retry_seconds:g} s at first, twice as long each time, and at most "
        f"{settings.pipeline.max_retries} times.",
    )
    def retry_failed(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        try:
            return evaluate(settings, context.instance, context.scheduled_execution_time.isoformat())
        except (StoreAccessError, StoreBusyError) as error:
            return dg.SkipReason(f"the database can't be looked at now: {error}")

    return retry_failed


def evaluate(settings: Settings, instance: dg.DagsterInstance, moment: str) -> list[dg.RunRequest] | dg.SkipReason:
    """What to run again at ``moment``, which makes the requests of one evaluation differ from those of the next."""
    from dobby_dagster.pipeline.planning.retry_policy import due

    store = opened(settings)
    now_under_way = under_way(instance)
    if now_under_way.backfills:
        return dg.SkipReason(f"{now_under_way.backfills} backfills are under way")
    # A batch that is no partition here was planned under another DAGSTER_HOME, and is that one's to finish.
    name = str(record_batch_partitions.name)
    candidates = [
        candidate
        for candidate in left_undone(settings, store)
        if candidate.batch not in now_under_way.batches and instance.has_dynamic_partition(name, candidate.batch)
    ]
    ready = due(candidates)
    room = settings.automation.runs_per_tick - now_under_way.waiting
    if not ready or room <= 0:
        return dg.SkipReason(_why_nothing(candidates, ready))
    requests = []
    for first, last in ranges([c.batch for c in ready], settings.dagster.partitions_per_run)[:room]:
        tags = {**range_tags(first, last), ASKED_BY_TAG: NAME}
        requests.append(dg.RunRequest(run_key=f"{moment}-{first}-{last}", tags=tags))
    return requests


def left_undone(settings: Settings, store: "CozoStore") -> list["Unsettled"]:
    """Batches that were begun under the settings' model and prompt and have something left to do."""
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.pipeline.planning.retry_policy import unsettled

    recipe = recipe_for(settings).id
    retries, wait = settings.pipeline.max_retries, settings.automation.retry_seconds
    return unsettled(store, settings.source.relation, recipe, retries, wait)


def _why_nothing(candidates: list["Unsettled"], ready: list["Unsettled"]) -> str:
    if ready:
        return f"{counted(len(ready), 'batch')} due for a retry, but enough runs are queued"
    given_up = sum(candidate.given_up for candidate in candidates)
    later = len(candidates) - given_up
    return f"{counted(later, 'batch')} waiting for the next retry, {given_up} at the retry limit (see dobby doctor)"
