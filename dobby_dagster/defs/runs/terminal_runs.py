"""Plan and run in this process, through Dagster, as the command ``dobby summarize`` does."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from dobby_dagster.defs.jobs import plan_batches, summarize_batches
from dobby_dagster.defs.partitions import add_partitions
from dobby_dagster.defs.runs.batch_runs import range_tags, ranges
from dobby_dagster.defs.runs.crash_recovery import device_users, recover
from dobby_dagster.defs.runs.dagster_home import terminal_instance
from dobby_dagster.defs.runs.in_process import cause, run_job, was_stopped
from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.store.cozo_store import CozoStore

DEVICE_POLL_SECONDS = 1.0


@dataclass
class Report:
    """What planning and the runs did.

    Attributes:
        planned: What the plan found, as the materialization says it.
        todo: Record versions to look at by batch, before the runs.
        done: How many of those are settled after the runs.
        runs: Identifiers of the runs.
        failures: One line for each run that failed.
        device_used_by: Runs that have to end before the first of these can begin.
        stopped: Whether the user interrupted it; no further run was started.
    """

    planned: dict[str, Any] = field(default_factory=dict)
    todo: dict[BatchId, int] = field(default_factory=dict)
    done: int = 0
    runs: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    device_used_by: list[str] = field(default_factory=list)
    stopped: bool = False


def plan_and_run(settings: Settings, on_plan: Callable[[Report], None] = lambda report: None) -> Report:
    """Plan batches from what changed, then run every batch that has something to do.

    Args:
        settings: Valid settings.
        on_plan: Told when the plan is made and before the first run.

    Raises:
        DobbyError: Planning failed; a run that fails is in the report instead.
        KeyboardInterrupt: The user stopped it before the first run.
    """
    report = Report()
    with _ready(settings) as (instance, store, recipe):
        store.remember(settings)
        planned = run_job(settings, plan_batches.name, instance, {})
        if not planned.success:
            if was_stopped(planned):
                raise KeyboardInterrupt
            raise cause(planned)
        [event] = [e.materialization for e in planned.get_asset_materialization_events()]
        report.planned = {name: value.value for name, value in event.metadata.items()}
        report.todo = _left(settings, store, recipe)
        report.todo |= dict.fromkeys(_unmeasured(settings, store, recipe, report.todo), 0)
        _run(settings, instance, store, recipe, report, on_plan)
    return report


def backfill(
    settings: Settings,
    choose: Callable[[CozoStore, dict[BatchId, int]], list[BatchId]],
    on_plan: Callable[[Report], None],
    *,
    remember: bool = True,
) -> Report:
    """Run batches that are there already; nothing is looked for.

    Args:
        settings: Valid settings.
        choose: Which batches, given the store and what is to do by batch.
        on_plan: Told what is to do before the first run.
        remember: Keep the source, the model and the prompt as those in use.

    Raises:
        DobbyError: The database or the model can't be used; a run that fails is in the report instead.
    """
    report = Report()
    with _ready(settings) as (instance, store, recipe):
        if remember:
            store.remember(settings)
        add_partitions(instance, store)
        left = _left(settings, store, recipe)
        left |= dict.fromkeys(_unmeasured(settings, store, recipe, left), 0)
        report.todo = {batch: left.get(batch, 0) for batch in choose(store, left)}
        _run(settings, instance, store, recipe, report, on_plan)
    return report


@contextmanager
def _ready(settings: Settings) -> Iterator[tuple[dg.DagsterInstance, CozoStore, Recipe]]:
    """Everything checked that can be before a run is made, and what a crash left behind mended."""
    from dobby_dagster.inference.recipe import recipe_for

    recipe = recipe_for(settings)
    store = CozoStore.open(settings.database, create=False)
    store.source(settings.source)
    store.recipes.remember(recipe)
    with terminal_instance(settings) as instance:
        recover(instance, store)
        yield instance, store, recipe


def _left(settings: Settings, store: CozoStore, recipe: Recipe) -> dict[BatchId, int]:
    return store.states.unfinished(settings.source.relation, recipe.id, settings.pipeline.max_retries)


def _unmeasured(settings: Settings, store: CozoStore, recipe: Recipe, left: Mapping[BatchId, int]) -> list[BatchId]:
    """Settled batches without metrics that a run makes green: another batch of their run failed, or it died too soon.

    One with too many failed records is red for good reason, and a run would change nothing of it.
    """
    measured = store.batch_reports.measured(recipe.id)
    found = []
    for batch in store.versions.batches(settings.source.relation):
        if batch.id not in measured and batch.id not in left:
            counts = store.states.counts(Scope(recipe.id, batch.id))
            if counts["failed"] <= settings.pipeline.failed_share_limit * counts["members"]:
                found.append(batch.id)
    return found


def _run(
    settings: Settings,
    instance: dg.DagsterInstance,
    store: CozoStore,
    recipe: Recipe,
    report: Report,
    on_plan: Callable[[Report], None],
) -> None:
    try:
        report.device_used_by = device_users(instance)
        on_plan(report)
        _run_batches(settings, instance, report.todo, report)
        if report.failures and not report.stopped:
            # Metrics and checks of a run come after its summaries: none ran where one batch failed.
            unmeasured = set(_unmeasured(settings, store, recipe, _left(settings, store, recipe)))
            _run_batches(settings, instance, unmeasured & report.todo.keys(), report)
    except KeyboardInterrupt:
        report.stopped = True
    left = _left(settings, store, recipe)
    report.done = sum(max(0, todo - left.get(batch, 0)) for batch, todo in report.todo.items())


def _run_batches(settings: Settings, instance: dg.DagsterInstance, batches: Iterable[BatchId], report: Report) -> None:
    for first, last in ranges(batches, settings.dagster.partitions_per_run):
        while device_users(instance):  # the queue is the daemon's; here a run waits for itself
            time.sleep(DEVICE_POLL_SECONDS)
        result = run_job(settings, summarize_batches.name, instance, range_tags(first, last))
        report.runs.append(result.run_id)
        if was_stopped(result):
            report.stopped = True
            return
        if not result.success:
            report.failures.append(f"{first} to {last}: {cause(result)}")
