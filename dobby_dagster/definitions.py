"""All that Dagster loads, on one page."""

import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")

from dobby_dagster.defs.assets import metrics, pending_records, record_batches, source_records, summaries  # noqa: E402
from dobby_dagster.defs.checks import summaries_invariants  # noqa: E402
from dobby_dagster.defs.jobs import plan_batches, summarize_batches  # noqa: E402
from dobby_dagster.defs.resources import build_resources  # noqa: E402
from dobby_dagster.domain.settings import Settings  # noqa: E402
from dobby_dagster.domain.settings_loader import load_settings  # noqa: E402


def build_definitions(settings: Settings) -> dg.Definitions:
    """The definitions for ``settings``; nothing is opened or loaded yet."""
    return dg.Definitions(
        assets=[source_records, record_batches, pending_records, summaries, metrics],
        asset_checks=[summaries_invariants],
        jobs=[plan_batches, summarize_batches],
        resources=build_resources(settings),
        executor=dg.in_process_executor,
    )


defs = build_definitions(load_settings().settings)
