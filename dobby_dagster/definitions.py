"""All that Dagster loads, on one page."""

import dagster as dg

from dobby_dagster.defs.assets import metrics, pending_records, record_batches, source_records, summaries
from dobby_dagster.defs.checks import performance_contracts, summaries_invariants
from dobby_dagster.defs.jobs import plan_batches, summarize_batches
from dobby_dagster.defs.wiring import build_resources
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings


def build_definitions(settings: Settings) -> dg.Definitions:
    """The definitions for ``settings``; nothing is opened or loaded yet."""
    return dg.Definitions(
        assets=[source_records, record_batches, pending_records, summaries, metrics],
        asset_checks=[summaries_invariants, performance_contracts],
        jobs=[plan_batches, summarize_batches],
        resources=build_resources(settings),
        executor=dg.in_process_executor,
    )


defs = build_definitions(load_settings().settings)
