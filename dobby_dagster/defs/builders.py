"""Assets and resources, built from settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn

import dagster as dg

from dobby_dagster.defs.assets import (
    metrics,
    outlines,
    pending_records,
    record_batches,
    search_index,
    source_records,
    summaries_in,
)
from dobby_dagster.defs.io_manager import CozoIOManager
from dobby_dagster.defs.partitions import backfill_policy
from dobby_dagster.defs.resources import ContractLimits, CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.defs.runs.device_pool import device_pool
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.settings import Settings

AFTER_SUMMARIES = dg.AutomationCondition.eager()


def build_assets(settings: Settings) -> list[dg.AssetSpec | dg.AssetsDefinition]:
    """The assets for ``settings``.

    The code version of ``summaries`` is the recipe, so that the UI shows them as out of date after a change of model,
    prompt or generation settings. Where automation is on, ``record_batches`` has a freshness policy. Outlines, the
    search index and metrics are materialized automatically after summaries without them. A run of a backfill takes
    ``dagster.partitions_per_run`` batches.
    """
    automation = settings.automation
    stale = dg.FreshnessPolicy.time_window(fail_window=timedelta(seconds=automation.stale_seconds))
    freshness = stale if automation.enabled else None
    version = _recipe_id(settings)
    policy = backfill_policy(settings.dagster.partitions_per_run)
    by_batch = [
        pending_records,
        summaries_in(device_pool(settings)).map_asset_specs(lambda spec: spec.replace_attributes(code_version=version)),
        *(
            asset.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=AFTER_SUMMARIES))
            for asset in (outlines, search_index, metrics)
        ),
    ]
    return [
        source_records,
        record_batches.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=freshness)),
        *(asset.with_attributes(backfill_policy=policy) for asset in by_batch),
    ]


def _recipe_id(settings: Settings) -> str | None:
    from dobby_dagster.inference.recipe import recipe_for

    try:
        return recipe_for(settings).id
    except DobbyError:
        return None  # the definitions load anyway, and a run reports what is wrong with the model


def build_resources(settings: Settings) -> dict[str, Any]:
    """All resources for ``settings``, by name."""
    database, models, options = CozoDatabase.of(settings), ModelPool.of(settings), PipelineOptions.of(settings)
    return {
        "database": database,
        "models": models,
        "options": options,
        "limits": ContractLimits(settings=settings.contracts),
        "cozo": CozoIOManager(database=database, models=models, options=options),
    }


def unusable_resources(problem: DobbyError) -> dict[str, Any]:
    """Resources with the same names, which fail with ``problem`` when they are used."""

    def refuse(context: dg.InitResourceContext) -> NoReturn:
        raise problem

    return {name: dg.IOManagerDefinition(refuse, {}) for name in build_resources(Settings())}
