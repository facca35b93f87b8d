"""The sensor ``recovery``: what dead processes left behind is mended without a person."""

import dagster as dg

from dobby_dagster.defs.automation.tick_store import opened
from dobby_dagster.defs.runs.crash_recovery import recover
from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError
from dobby_dagster.domain.settings import Settings

INTERVAL_SECONDS = 30


def recovery_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor for ``settings``; it runs whatever ``automation.enabled`` says, for it starts nothing new."""

    @dg.sensor(
        name="recovery",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Closes runs whose process died, so that they are retried; returns the records that a dead "
        "process had begun to pending; frees pool slots that ended runs still hold.",
    )
    def recovery(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            found = recover(context.instance, opened(settings))
        except (StoreAccessError, StoreBusyError) as error:
            return dg.SkipReason(f"the database can't be looked at now: {error}")
        if found:
            context.log.warning(str(found))
        return dg.SkipReason(str(found) if found else "nothing is stuck")

    return recovery
