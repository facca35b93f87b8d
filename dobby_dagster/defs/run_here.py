"""Plan and run in this process, through Dagster, as the command ``dobby summarize`` does."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from dobby_dagster.defs.assets import metrics, pending_records, record_batches, source_records, summaries
from dobby_dagster.defs.checks import performance_contracts, summaries_invariants
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.wiring import build_resources
from dobby_dagster.domain.errors import DobbyError, SettingsError
from dobby_dagster.domain.owner import is_alive, new_owner, retire
from dobby_dagster.domain.settings import Settings
from dobby_dagster.store.store import CozoStore

_PACKAGE = Path(__file__).resolve().parent.parent
OWNER_TAG = "dobby/owner"
INSTANCE_FILES = (_PACKAGE / "shipped" / "dagster.yaml", _PACKAGE.parent / "dagster.yaml")


@dataclass
class Report:
    """What planning and the runs did.

    Attributes:
        planned: What the plan found, as the materialization says it.
        todo: Record versions to look at by batch, before the runs.
        runs: Identifiers of the runs.
        failures: One line for each run that failed.
    """

    planned: dict[str, Any] = field(default_factory=dict)
    todo: dict[str, int] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


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
    from dobby_dagster.inference.prompts import chosen_prompt
    from dobby_dagster.inference.recipe import recipe_of

    recipe = recipe_of(settings.model, settings.inference, chosen_prompt(settings.prompt))
    store = CozoStore.open(settings.database, create=False)
    store.source(settings.source)
    store.work.remember_recipe(recipe)
    dagster_home(settings)
    resources = build_resources(settings)
    report = Report()
    with dg.DagsterInstance.get() as instance, _owner() as owner:
        close_abandoned_runs(instance)
        tags = {OWNER_TAG: owner}
        planned = _materialize([source_records, record_batches], instance, resources, tags)
        if not planned.success:
            raise _cause(planned)
        [event] = [e.materialization for e in planned.get_asset_materialization_events()]
        report.planned = {name: value.value for name, value in event.metadata.items()}
        relation, retries = settings.source.relation, settings.pipeline.max_retries
        report.todo = store.work.unsettled(relation, recipe.id, retries)
        on_plan(report)
        order = instance.get_dynamic_partitions(str(record_batch_partitions.name))
        for first, last in ranges(list(report.todo), order, settings.dagster.partitions_per_run):
            tags |= {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
            assets = [pending_records, summaries, metrics, summaries_invariants, performance_contracts]
            result = _materialize(assets, instance, resources, tags)
            report.runs.append(result.run_id)
            if not result.success:
                report.failures.append(f"{first} to {last}: {_cause(result)}")
    return report


def close_abandoned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed the runs of this command whose process died; their identifiers.

    Nobody else can: no launcher watches them. Left as they are, they would count against the limit of concurrent
    runs for ever.
    """
    closed = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        owner = run.tags.get(OWNER_TAG)
        if owner is not None and not is_alive(owner, time.time()):
            instance.report_run_failed(run, "The process that ran it died. What it committed is kept.")
            closed.append(run.run_id)
    return closed


@contextmanager
def _owner() -> Iterator[str]:
    owner = new_owner()
    try:
        yield owner
    finally:
        retire(owner)


def ranges(wanted: Sequence[str], order: Sequence[str], longest: int) -> list[tuple[str, str]]:
    """``wanted`` as ranges of neighbours in ``order``, each of at most ``longest`` keys.

    >>> ranges(["b", "c", "e"], ["a", "b", "c", "d", "e"], 10)
    [('b', 'c'), ('e', 'e')]
    """
    places = sorted(order.index(key) for key in wanted)
    groups: list[list[int]] = []
    for place in places:
        if groups and groups[-1][-1] == place - 1 and len(groups[-1]) < longest:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [(order[group[0]], order[group[-1]]) for group in groups]


def _materialize(
    assets: list[Any], instance: dg.DagsterInstance, resources: dict[str, Any], tags: dict[str, str]
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets,
        instance=instance,
        resources=resources,
        tags=tags,
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
