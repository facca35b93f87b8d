"""Plan and run batches in this process, through Dagster, for the command line."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from dobby_dagster.defs.jobs import plan_batches, summarize_batches
from dobby_dagster.defs.partitions import add_partitions
from dobby_dagster.defs.runs.batch_runs import range_tags, ranges
from dobby_dagster.defs.runs.crash_recovery import recover
from dobby_dagster.defs.runs.dagster_home import terminal_instance
from dobby_dagster.defs.runs.device_pool import device_pool, device_users
from dobby_dagster.defs.runs.device_wait import WAITED_TAG
from dobby_dagster.defs.runs.in_process import cause, run_job, was_stopped
from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import CALLEES_CHANGED, State
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.store.cozo_store import CozoStore

DEVICE_POLL_SECONDS = 1.0


@dataclass
class Report:
    """What planning and the runs did.

    Attributes:
        planned: Metadata of the materialization of ``record_batches``.
        todo: Unfinished records by batch, before the runs; those of later levels are added as they are planned.
        level: What those are, as "files"; empty of the first level.
        done: How many of those are finished after the runs.
        runs: Identifiers of the runs.
        failures: One line for each failed run.
        device_used_by: Runs that must end before the first of these can start.
        stopped: Whether the user interrupted it; no further run was started.
    """

    planned: dict[str, Any] = field(default_factory=dict)
    todo: dict[BatchId, int] = field(default_factory=dict)
    done: int = 0
    runs: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    device_used_by: list[str] = field(default_factory=list)
    stopped: bool = False
    level: str = ""

    def add(self, later: "Report") -> None:
        """Count what later runs of the same command did, too."""
        self.todo |= {batch: self.todo.get(batch, 0) + count for batch, count in later.todo.items()}
        self.done += later.done
        self.runs += later.runs
        self.failures += later.failures
        self.stopped |= later.stopped


def plan_and_run(settings: Settings, on_plan: Callable[[Report], None] = lambda report: None) -> Report:
    """Plan batches from changes in the source, then run all unfinished batches.

    Where that gives the files and packages of ingested trees other contents, or callers other summaries of their
    callees, those are planned and run next, level by level, until nothing is left.

    Args:
        settings: Valid settings.
        on_plan: Called after each plan, before its first run.

    Raises:
        DobbyError: Planning failed; failed runs are in the report instead.
        KeyboardInterrupt: The user stopped it before the first run.
    """
    report = Report()
    with _ready(settings) as (instance, store, recipe), _remembered(store, settings, recipe, report):
        report.planned = _plan(settings, instance)
        report.todo = _unfinished(settings, store, recipe)
        report.todo |= dict.fromkeys(_unmeasured(settings, store, recipe, report.todo), 0)
        _run(settings, instance, store, recipe, report, on_plan)
        while not report.stopped and report.todo and (above := _next_level(settings, instance, store, recipe, report)):
            _run(settings, instance, store, recipe, above, on_plan)
            report.add(above)
    return report


def _plan(settings: Settings, instance: dg.DagsterInstance) -> dict[str, Any]:
    planned = run_job(settings, plan_batches.name, instance, {})
    if not planned.success:
        if was_stopped(planned):
            raise KeyboardInterrupt
        raise cause(planned)
    [event] = [e.materialization for e in planned.get_asset_materialization_events()]
    return {name: value.value for name, value in event.metadata.items()}


def _next_level(
    settings: Settings, instance: dg.DagsterInstance, store: CozoStore, recipe: Recipe, report: Report
) -> Report | None:
    """A report of what there is to do once the outlines above what was done are planned; None if there is nothing."""
    if not (settings.pipeline.outlines or recipe.callees) or store.outlines.is_empty():
        return None
    try:
        planned = _plan(settings, instance)
    except KeyboardInterrupt:
        report.stopped = True
        return None
    again = {} if report.failures else _outdated_callers(store, recipe, report.todo)
    unfinished = _unfinished(settings, store, recipe)
    todo = {batch: n for batch, n in unfinished.items() if batch not in report.todo or batch in again}
    return Report(planned, todo, level=_level(store, recipe, todo)) if todo else None


def _outdated_callers(store: CozoStore, recipe: Recipe, batches: Iterable[BatchId]) -> dict[BatchId, int]:
    """How many callers have come back to those of ``batches`` that have any, since their run."""
    found = Counter(
        batch
        for batch in (batches if recipe.callees else ())
        for member in store.states.members(Scope(recipe.id, batch))
        if member.state and member.state.state is State.PENDING and member.state.reason == CALLEES_CHANGED
    )
    return dict(found)


def _level(store: CozoStore, recipe: Recipe, batches: Iterable[BatchId]) -> str:
    keys = [member.version.key for batch in batches for member in store.states.members(Scope(recipe.id, batch))]
    kinds = {each.outline.kind for each in store.outlines.get(keys).values()}
    return " and ".join(f"{kind}s" for kind in sorted(kinds)) or "records"


def backfill(
    settings: Settings,
    choose: Callable[[CozoStore, dict[BatchId, int]], list[BatchId]],
    on_plan: Callable[[Report], None],
    *,
    remember: bool = True,
) -> Report:
    """Run existing batches; the source is not polled.

    Args:
        settings: Valid settings.
        choose: Selects batches, given the store and the number of unfinished records by batch.
        on_plan: Called before the first run.
        remember: Store the source, the model and the prompt as those in use.

    Raises:
        DobbyError: The database or the model can't be used; failed runs are in the report instead.
    """
    report = Report()
    with _ready(settings) as (instance, store, recipe), ExitStack() as stack:
        if remember:
            stack.enter_context(_remembered(store, settings, recipe, report))
        add_partitions(instance, store)
        unfinished = _unfinished(settings, store, recipe)
        unfinished |= dict.fromkeys(_unmeasured(settings, store, recipe, unfinished), 0)
        report.todo = {batch: unfinished.get(batch, 0) for batch in choose(store, unfinished)}
        _run(settings, instance, store, recipe, report, on_plan)
    return report


@contextmanager
def _ready(settings: Settings) -> Iterator[tuple[dg.DagsterInstance, CozoStore, Recipe]]:
    """Check the database and the model before any run, and clean up after a crash."""
    from dobby_dagster.inference.recipe import recipe_for

    recipe = recipe_for(settings)
    store = CozoStore.open(settings.database, create=False)
    store.source(settings.source)
    store.recipes.remember(recipe)
    with terminal_instance(settings) as instance:
        recover(instance, store)
        yield instance, store, recipe


@contextmanager
def _remembered(store: CozoStore, settings: Settings, recipe: Recipe, report: Report) -> Iterator[None]:
    """Remember ``settings``, before the first run, so that a killed run is continued with the same ones.

    Where runs failed and nothing was ever inferred with them, as where the model can't be loaded, later commands are
    given what was remembered before.
    """
    before = store.remember(settings)
    yield
    if report.failures and not report.stopped and store.recipes.forget_unused(recipe.id):
        store.restore_memory(before)


def _unfinished(settings: Settings, store: CozoStore, recipe: Recipe) -> dict[BatchId, int]:
    return store.states.unfinished(settings.source.relation, recipe.id, settings.pipeline.max_retries)


def _unmeasured(
    settings: Settings, store: CozoStore, recipe: Recipe, unfinished: Mapping[BatchId, int]
) -> list[BatchId]:
    """Finished batches without metrics, since another batch of their run failed, or the run died.

    A batch with too many failed records is not one of them: another run would fail in the same way.
    """
    measured = store.batch_reports.measured(recipe.id)
    found = []
    for batch in store.versions.batches(settings.source.relation):
        if batch.id not in measured and batch.id not in unfinished:
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
        report.device_used_by = device_users(instance, store, device_pool(settings))
        on_plan(report)
        _run_batches(settings, instance, store, report.todo, report)
        if report.failures and not report.stopped:
            # Where one batch of a run failed, the run has no metrics and checks of its other batches.
            unmeasured = set(_unmeasured(settings, store, recipe, _unfinished(settings, store, recipe)))
            _run_batches(settings, instance, store, unmeasured & report.todo.keys(), report)
    except KeyboardInterrupt:
        report.stopped = True
    left = Counter(_unfinished(settings, store, recipe))
    if not report.failures and not report.stopped:
        left.subtract(_outdated_callers(store, recipe, report.todo))
    report.done = sum(max(0, todo - left[batch]) for batch, todo in report.todo.items())


def _run_batches(
    settings: Settings, instance: dg.DagsterInstance, store: CozoStore, batches: Iterable[BatchId], report: Report
) -> None:
    for first, last in ranges(batches, settings.dagster.partitions_per_run):
        began = time.monotonic()
        while device_users(instance, store, device_pool(settings)):  # only the daemon has a queue
            time.sleep(DEVICE_POLL_SECONDS)
        tags = range_tags(first, last) | {WAITED_TAG: f"{time.monotonic() - began:.1f}"}
        result = run_job(settings, summarize_batches.name, instance, tags)
        report.runs.append(result.run_id)
        if was_stopped(result):
            report.stopped = True
            return
        if not result.success:
            scope, why = first if first == last else f"{first} to {last}", str(cause(result))
            report.failures.append(why if why.startswith(scope) else f"{scope}: {why}")
