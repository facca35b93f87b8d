"""What the tests of automation share: twelve records in three batches, and jobs run in this process."""

from typing import Any

import dagster as dg

from dobby_dagster.definitions import build_definitions
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import COMPLETED, ProcessingState
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.store.cozo_store import CozoStore


def recipe(settings: Settings) -> str:
    return recipe_for(settings).id


def versions(store: CozoStore, settings: Settings, batch: str) -> list[RecordVersion]:
    return [member.version for member in store.states.members(Scope(recipe(settings), batch))]


def settle(store: CozoStore, settings: Settings, batch: str, state: ProcessingState = COMPLETED) -> None:
    store.states.set_states(versions(store, settings, batch), state, Scope(recipe(settings), batch, "run"))


def run(
    name: str, settings: Settings, instance: dg.DagsterInstance, config: dict[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_job_def(name)
    return job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)


def backfills(instance: dg.DagsterInstance) -> list[tuple[str, list[str]]]:
    found = []
    for backfill in instance.get_backfills():
        subset = backfill.asset_backfill_data.target_subset  # type: ignore[union-attr]
        keys = subset.get_partitions_subset(dg.AssetKey("summaries")).get_partition_keys()
        found.append((backfill.title or "", sorted(keys)))
    return found
