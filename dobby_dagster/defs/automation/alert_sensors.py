"""The sensors ``run_failures`` and ``staleness``: somebody is told."""

from collections.abc import Iterable

import dagster as dg

from dobby_dagster.defs.assets import record_batches
from dobby_dagster.defs.runs.batch_runs import batches_of
from dobby_dagster.domain.errors import Retry, Severity
from dobby_dagster.domain.settings import Settings

INTERVAL_SECONDS = 30
AUTOMATIC = "It is run again by itself where that can help; dobby doctor shows what is left."
PERSON = "No retry can help before a person acts; dobby doctor shows what is wrong."


def alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Both sensors; they run whatever ``automation.enabled`` says."""
    return [_run_failures(settings), _staleness(settings)]


def _run_failures(settings: Settings) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="run_failures",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of each run that failed, into the log and where automation.alert_… says.",
    )
    def run_failures(context: dg.RunFailureSensorContext) -> None:
        from dobby_dagster.pipeline.reporting.alerts import Alert, deliver

        run = context.dagster_run
        batches = tuple(batches_of(dict(run.tags)))
        about = f" of {batches[0]} to {batches[-1]}" if batches else ""
        steps = [event.event_specific_data for event in context.get_step_failure_events()]
        said = next((_description(data) for data in steps), "") or context.failure_event.message or ""
        title = f"Dobby: run {run.run_id[:8]} of {run.job_name}{about} failed"
        severity, retry = _recommendation(steps)
        way_out = PERSON if retry is Retry.ESCALATE else AUTOMATIC
        alert = Alert("run_failure", title, f"{said} {way_out}", severity, run.run_id, batches)
        deliver(alert, settings.automation)

    return run_failures


def _recommendation(steps: Iterable[object]) -> tuple[Severity, Retry]:
    """What the first error that is Dobby's own says of itself; of others, that they are errors."""
    for data in steps:
        metadata = getattr(getattr(data, "user_failure_data", None), "metadata", None) or {}
        if "severity" in metadata and "retry" in metadata:
            return Severity(str(metadata["severity"].value)), Retry(str(metadata["retry"].value))
    return Severity.ERROR, Retry.NO_RETRY


def _description(data: object) -> str:
    failure = getattr(data, "user_failure_data", None)
    if failure is not None and failure.description:
        return str(failure.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.message).strip() if error is not None else ""


def _staleness(settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name="staleness",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells when nobody has looked for new rows for automation.stale_seconds, and when that is over.",
    )
    def staleness(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from dobby_dagster.pipeline.reporting.alerts import Alert, deliver

        key = record_batches.key
        record = context.instance.get_freshness_state_records([key]).get(key)
        state = record.freshness_state.value if record else "UNKNOWN"
        before = context.cursor or "UNKNOWN"
        if state != before and "FAIL" in (state, before):
            minutes = settings.automation.stale_seconds / 60
            stale = state == "FAIL"
            title = "Dobby: nobody looks for new rows" if stale else "Dobby: new rows are looked for again"
            text = f"The last look is over {minutes:.0f} minutes old. Is the sensor new_records on, and the daemon up?"
            deliver(Alert("freshness", title, text if stale else "All is well again."), settings.automation)
        return dg.SensorResult(skip_reason=dg.SkipReason(f"record_batches: {state}"), cursor=state)

    return staleness
