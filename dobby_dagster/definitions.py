"""The code location: all definitions that Dagster loads."""

import logging

import dagster as dg

from dobby_dagster.defs.automation import (
    alerts_sensor,
    metrics_sensor,
    new_records_sensor,
    recovery_sensor,
    retry_schedule,
    upkeep_schedule,
)
from dobby_dagster.defs.builders import build_assets, build_resources, unusable_resources
from dobby_dagster.defs.checks import CHECKS
from dobby_dagster.defs.jobs import plan_batches, summarize_batches
from dobby_dagster.defs.operation_jobs import operations
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings


def build_definitions(settings: Settings) -> dg.Definitions:
    """The definitions for ``settings``; no database is opened, and no model is loaded."""
    return dg.Definitions(
        assets=build_assets(settings),
        asset_checks=CHECKS,
        jobs=[plan_batches, summarize_batches, *operations(settings)],
        sensors=[
            new_records_sensor.new_records_sensor(settings),
            recovery_sensor.recovery_sensor(settings),
            metrics_sensor.metrics_follow_sensor(settings),
            alerts_sensor.alerts_sensor(settings),
        ],
        schedules=[retry_schedule.retry_failed_schedule(settings), upkeep_schedule.nightly_upkeep_schedule(settings)],
        resources=build_resources(settings),
        executor=dg.in_process_executor,
    )


def unusable_definitions(problem: DobbyError) -> dg.Definitions:
    """The definitions without valid settings: the same assets and jobs, whose runs all fail with ``problem``.

    There are no sensors and schedules: they would run with default settings.
    """
    settings = Settings()
    return dg.Definitions(
        assets=build_assets(settings),
        asset_checks=CHECKS,
        jobs=[plan_batches, summarize_batches, *operations(settings)],
        resources=unusable_resources(problem),
        executor=dg.in_process_executor,
        metadata={"problem": str(problem)},
    )


def load_definitions() -> dg.Definitions:
    """The definitions for the settings in the environment, valid or not."""
    try:
        return build_definitions(load_settings().settings)
    except DobbyError as error:
        logging.getLogger("dobby").error("%s", error)
        return unusable_definitions(error)


defs = load_definitions()
