"""The conditions that Dagster shows: failed runs, a source that is not polled, backups that fail."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from dobby_dagster.defs.assets import metrics, record_batches
from dobby_dagster.defs.operation_jobs import UPKEEP
from dobby_dagster.defs.runs.batch_runs import batches_of
from dobby_dagster.domain.errors import Retry, Severity
from dobby_dagster.domain.settings import Settings
from dobby_dagster.pipeline.backup_rotation import newest_backup
from dobby_dagster.pipeline.monitoring.conditions import Check, Condition, Kind
from dobby_dagster.pipeline.monitoring.remedy_command import remedy_command

AUTOMATIC = "It is retried automatically where that can help; dobby doctor shows what remains."
MANUAL = "No retry can help before a person acts; dobby doctor shows what is wrong."
# How long a failed run needs attention, and how many are looked at.
FAILED_DAYS, MOST_RUNS = 7, 50
BACKUP_DAYS = 2
_OWN_ERROR = re.compile(r"^dobby_dagster\.[\w.]+: ")


@dataclass
class RunConditions:
    """Finds them; remembers of failed runs why they failed and that they are over, since neither changes."""

    settings: Settings
    home: Path
    _failures: dict[str, Condition] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    def checks(self, instance: dg.DagsterInstance) -> list[Check]:
        """The checks on the runs and assets of ``instance``."""
        return [
            Check(Kind.RUN_FAILURE, lambda: self._failed_runs(instance)),
            Check(Kind.STALENESS, lambda: self._staleness(instance)),
            Check(Kind.BACKUP, lambda: self._backups(instance)),
        ]

    def _failed_runs(self, instance: dg.DagsterInstance) -> Iterator[Condition]:
        """Runs that failed and were not made up for. Runs of the job upkeep are of the kind ``backup``."""
        since = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=_days_ago(FAILED_DAYS))
        records = instance.get_run_records(since, limit=MOST_RUNS)
        self._over &= {record.dagster_run.run_id for record in records}
        for record in reversed(records):
            run = record.dagster_run
            if run.job_name == UPKEEP or run.run_id in self._over:
                continue
            if _is_made_up_for(instance, record):
                self._over.add(run.run_id)
                self._failures.pop(run.run_id, None)
                continue
            if run.run_id not in self._failures:
                self._failures[run.run_id] = self._failure(instance, run)
            yield self._failures[run.run_id]

    def _failure(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> Condition:
        batches = tuple(batches_of(dict(run.tags)))
        scope = f" of {batches[0]} to {batches[-1]}" if batches else ""
        cause, severity, retry = _cause(instance, run.run_id)
        return Condition(
            Kind.RUN_FAILURE,
            run.root_run_id or run.run_id,
            f"run {run.run_id[:8]} of {run.job_name}{scope} failed",
            f"{cause} {MANUAL if retry is Retry.ESCALATE else AUTOMATIC}",
            severity,
            remedy_command(self.settings, "doctor", home=self.home),
            batches,
            (run.run_id,),
        )

    def _staleness(self, instance: dg.DagsterInstance) -> Iterator[Condition]:
        key = record_batches.key
        record = instance.get_freshness_state_records([key]).get(key)
        if record is not None and record.freshness_state.value == "FAIL":
            minutes = self.settings.automation.stale_seconds / 60
            yield Condition(
                Kind.STALENESS,
                self.settings.source.relation,
                f"the source '{self.settings.source.relation}' is not polled",
                f"The last poll was over {minutes:.0f} minutes ago. Do the sensor new_records and the daemon run?",
                Severity.ERROR,
                remedy_command(self.settings, "doctor", home=self.home),
            )

    def _backups(self, instance: dg.DagsterInstance) -> Iterator[Condition]:
        """The last upkeep failed, or the newest backup is old."""
        remedy = remedy_command(self.settings, "doctor", home=self.home)
        ended = dg.RunsFilter(job_name=UPKEEP, statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS])
        for run in instance.get_runs(ended, limit=1):
            if run.status is dg.DagsterRunStatus.FAILURE:
                cause, severity, _ = _cause(instance, run.run_id)
                title = "the last upkeep failed: the database was not checked or not backed up"
                yield Condition(Kind.BACKUP, UPKEEP, title, cause, severity, remedy, runs=(run.run_id,))
        folder = self.settings.automation.backup_folder
        newest = newest_backup(folder) if folder is not None else None
        if newest is not None and (age := (time.time() - newest.stat().st_mtime) / 86_400) > BACKUP_DAYS:
            title = f"the newest backup is {age:.0f} days old"
            text = f"It is {newest}. Do the schedule nightly_upkeep and the daemon run?"
            yield Condition(Kind.BACKUP, str(folder), title, text, Severity.ERROR, remedy)


def _days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _is_made_up_for(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether a later run materialized the metrics of all its batches; without batches: whether one succeeded."""
    run, failed_at = record.dagster_run, record.end_time or record.update_timestamp.timestamp()
    batches = list(batches_of(dict(run.tags)))
    if not batches:
        later = dg.RunsFilter(
            job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=record.create_timestamp
        )
        return bool(instance.get_run_records(later, limit=1))
    wanted = dg.AssetRecordsFilter(metrics.key, asset_partitions=batches, after_timestamp=failed_at)
    found = instance.fetch_materializations(wanted, limit=1_000).records
    return {event.partition_key for event in found} >= set(batches)


def _cause(instance: dg.DagsterInstance, run_id: str) -> tuple[str, Severity, Retry]:
    """Why a run failed, with severity and retry recommendation of the first of Dobby's own errors."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=kinds) if entry.dagster_event]
    steps = [e.event_specific_data for e in events if e.event_type is dg.DagsterEventType.STEP_FAILURE]
    described = [*map(_description, steps), *(e.message or "" for e in events)]
    cause = next(filter(None, described), "no reason is known.")
    for data in steps:
        metadata = getattr(getattr(data, "user_failure_data", None), "metadata", None) or {}
        if "severity" in metadata and "retry" in metadata:
            return cause, Severity(str(metadata["severity"].value)), Retry(str(metadata["retry"].value))
    return cause, Severity.ERROR, Retry.NO_RETRY


def _description(data: object) -> str:
    failure = getattr(data, "user_failure_data", None)
    if failure is not None and failure.description:
        return str(failure.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
        error = error.cause
    return _OWN_ERROR.sub("", str(error.message).strip()) if error is not None else ""
