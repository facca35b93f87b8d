"""Plan and run in this process, through Dagster, as the command ``dobby summarize`` does."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from dobby_dagster.defs.assets import metrics, pending_records, record_batches, source_records, summaries
from dobby_dagster.defs.checks import performance_contracts, summaries_invariants
from dobby_dagster.defs.partitions import add_partitions
from dobby_dagster.defs.recovery import device_users, recover
from dobby_dagster.defs.runs import range_tags, ranges
from dobby_dagster.defs.wiring import build_assets, build_resources
from dobby_dagster.domain.errors import DobbyError, SettingsError
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.store.store import CozoStore

_PACKAGE = Path(__file__).resolve().parent.parent
DEVICE_POLL_SECONDS = 1.0
INSTANCE_FILES = (_PACKAGE / "shipped" / "dagster.yaml", _PACKAGE.parent / "dagster.yaml")


@dataclass
class Report:
    """What planning and the runs did.

    Attributes:
        planned: What the plan found, as the materialization says it.
        todo: Record versions to look at by batch, before the runs.
        runs: Identifiers of the runs.
        failures: One line for each run that failed.
        device_used_by: Runs that have to end before the first of these can begin.
    """

    planned: dict[str, Any] = field(default_factory=dict)
    todo: dict[str, int] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    device_used_by: list[str] = field(default_factory=list)


def dagster_home(settings: Settings) -> Path:
    """DAGSTER_HOME of the environment, else of the settings; made and given its ``dagster.yaml`` where it lacks one.

    Raises:
        SettingsError: It can't be made.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster.home).expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        template = next(path for path in INSTANCE_FILES if path.is_file())
        if not (home / "dagster.yaml").exists():
            shutil.copyfile(template, home / "dagster.yaml")
    except OSError as error:
        raise SettingsError(
            f"DAGSTER_HOME {home} can't be written: {error.strerror}", hint="set DAGSTER_HOME to a folder of yours"
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def plan_and_run(settings: Settings, on_plan: Callable[[Report], None] = lambda report: None) -> Report:
    """Plan batches from what changed, then run every batch that has something to do.

    Args:
        settings: Valid settings.
        on_plan: Told when the plan is made and before the first run.

    Raises:
        DobbyError: Planning failed; a run that fails is in the report instead.
    """
    report = Report()
    with _ready(settings) as (instance, store, recipe):
        planned = _materialize(settings, [source_records.key, record_batches.key], instance, {})
        if not planned.success:
            raise _cause(planned)
        [event] = [e.materialization for e in planned.get_asset_materialization_events()]
        report.planned = {name: value.value for name, value in event.metadata.items()}
        report.todo = _left(settings, store, recipe)
        _run(settings, instance, report, on_plan)
    return report


def backfill(
    settings: Settings, choose: Callable[[CozoStore, dict[str, int]], list[str]], on_plan: Callable[[Report], None]
) -> Report:
    """Run batches that are there already; nothing is looked for.

    Args:
        settings: Valid settings.
        choose: Which batches, given the store and what is to do by batch.
        on_plan: Told what is to do before the first run.

    Raises:
        DobbyError: The database or the model can't be used; a run that fails is in the report instead.
    """
    report = Report()
    with _ready(settings) as (instance, store, recipe):
        add_partitions(instance, store)
        left = _left(settings, store, recipe)
        report.todo = {batch: left.get(batch, 0) for batch in choose(store, left)}
        _run(settings, instance, report, on_plan)
    return report


@contextmanager
def _ready(settings: Settings) -> Iterator[tuple[dg.DagsterInstance, CozoStore, Recipe]]:
    """Everything checked that can be before a run is made, and what a crash left behind mended."""
    from dobby_dagster.inference.recipe import recipe_for

    recipe = recipe_for(settings)
    store = CozoStore.open(settings.database, create=False)
    store.source(settings.source)
    store.work.remember_recipe(recipe)
    dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        recover(instance, store)
        yield instance, store, recipe


def _left(settings: Settings, store: CozoStore, recipe: Recipe) -> dict[str, int]:
    return store.work.unsettled(settings.source.relation, recipe.id, settings.pipeline.max_retries)


def _run(settings: Settings, instance: dg.DagsterInstance, report: Report, on_plan: Callable[[Report], None]) -> None:
    report.device_used_by = device_users(instance)
    on_plan(report)
    assets = [pending_records.key, summaries.key, metrics.key]
    for first, last in ranges(report.todo, settings.dagster.partitions_per_run):
        while device_users(instance):  # the queue is the daemon's; here a run waits for itself
            time.sleep(DEVICE_POLL_SECONDS)
        result = _materialize(settings, assets, instance, range_tags(first, last))
        report.runs.append(result.run_id)
        if not result.success:
            report.failures.append(f"{first} to {last}: {_cause(result)}")


def _materialize(
    settings: Settings, wanted: list[dg.AssetKey], instance: dg.DagsterInstance, tags: dict[str, str]
) -> dg.ExecuteInProcessResult:
    chosen = [asset for asset in build_assets(settings) if asset.key in wanted]
    checks = [summaries_invariants, performance_contracts] if summaries.key in wanted else []
    return dg.materialize(
        [*chosen, *checks],
        instance=instance,
        resources=build_resources(settings),
        # The daemon can't run again what it did not launch.
        tags={**tags, "dagster/max_retries": "0"},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def _cause(result: dg.ExecuteInProcessResult) -> DobbyError:
    """The innermost message of what made the run fail."""
    for event in result.all_events:
        data = event.event_specific_data
        error = getattr(data, "error", None)
        if event.is_failure and error is not None:
            failure = getattr(data, "user_failure_data", None)
            if failure is not None and failure.description:
                return DobbyError(failure.description)
            while error.cause is not None:
                error = error.cause
            return DobbyError(error.message.strip().split(": ", 1)[-1])
    return DobbyError("the run failed; see its log in the Dagster UI")
