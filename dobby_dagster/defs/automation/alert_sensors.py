"""The sensors ``run_failures`` and ``staleness``, which send alerts."""

from collections.abc import Iterable

import dagster as dg

from dobby_dagster.defs.assets import record_batches
from dobby_dagster.defs.runs.batch_runs import batches_of
from dobby_dagster.domain.errors import Retry, Severity
from dobby_dagster.domain.settings import Settings

INTERVAL_SECONDS = 30
AUTOMATIC = "It is retried automatically where that can help; dobby doctor shows what remains."
MANUAL = "No retry can help before a person acts; dobby doctor shows what is wrong."


def alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Both sensors; on even where ``automation.enabled`` is false."""
    return [_run_failures(settings), _staleness(settings)]


def _run_failures(settings: Settings) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="run_failures",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends an alert for each failed run: to the log, and where automation.alert_… says.",
    )
    def run_failures(context: dg.RunFailureSensorContext) -> None:
        from dobby_dagster.pipeline.reporting.alerts import Alert, deliver

        run = context.dagster_run
        batches = tuple(batches_of(dict(run.tags)))
        scope = f" of {batches[0]} to {batches[-1]}" if batches else ""
        steps = [event.event_specific_data for event in context.get_step_failure_events()]
        cause = next((_description(data) for data in steps), "") or context.failure_event.message or ""
        title = f"Dobby: run {run.run_id[:8]} of {run.job_name}{scope} failed"
        severity, retry = _recommendation(steps)
        action = MANUAL if retry is Retry.ESCALATE else AUTOMATIC
        alert = Alert("run_failure", title, f"{cause} {action}", severity, run.run_id, batches)
        deliver(alert, settings.automation)

    return run_failures


def _recommendation(steps: Iterable[object]) -> tuple[Severity, Retry]:
    """Severity and retry recommendation of the first of Dobby's own errors; else those of an unexpected error."""
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
        description="Sends alerts when the source was not polled for automation.stale_seconds, and when it is again.",
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
            title = "Dobby: the source is not polled" if stale else "Dobby: the source is polled again"
            text = f"The last poll was over {minutes:.0f} minutes ago. Do the sensor new_records and the daemon run?"
            deliver(Alert("freshness", title, text if stale else "No action is needed."), settings.automation)
        return dg.SensorResult(skip_reason=dg.SkipReason(f"record_batches: {state}"), cursor=state)

    return staleness
