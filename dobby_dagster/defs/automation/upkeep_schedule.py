"""The schedule ``nightly_upkeep``: check, backup and compaction of the database."""

import dagster as dg

from dobby_dagster.defs.operation_jobs import UPKEEP
from dobby_dagster.domain.settings import Settings


def nightly_upkeep_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule for ``settings``."""
    enabled = settings.automation.enabled
    return dg.ScheduleDefinition(
        name="nightly_upkeep",
        job_name=UPKEEP,
        cron_schedule="0 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING if enabled else dg.DefaultScheduleStatus.STOPPED,
        description="Checks the database, backs it up into automation.backup_folder, drops old history.",
    )
