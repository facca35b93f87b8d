"""The sensor ``recovery``: cleans up after dead processes."""

import dagster as dg
import psutil

from dobby_dagster.defs.automation.tick_store import with_store
from dobby_dagster.defs.runs.crash_recovery import CodeServer, recover
from dobby_dagster.domain.settings import Settings

INTERVAL_SECONDS = 30


def recovery_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor for ``settings``; on even where ``automation.enabled`` is false, since it starts nothing new."""
    started = psutil.Process().create_time()  # sensors are evaluated in the code server

    @dg.sensor(
        name="recovery",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Closes runs whose process died, so that they are retried; returns the records that a dead "
        "process had started to pending; frees pool slots that ended runs still hold.",
    )
    def recovery(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        origin = context.code_location_origin
        server = CodeServer(origin.location_name, started) if origin else None
        found = with_store(settings, lambda store: recover(context.instance, store, server))
        if isinstance(found, dg.SkipReason):
            return found
        if found:
            context.log.warning(str(found))
        return dg.SkipReason(str(found) if found else "nothing is stuck")

    return recovery
