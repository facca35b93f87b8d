"""Jobs of the code location, run in this process; they are recorded so that the UI can run them again."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.execution.job_execution_result import JobExecutionResult
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster_shared.error import SerializableErrorInfo

from dobby_dagster.defs.builders import build_assets, build_resources
from dobby_dagster.defs.checks import CHECKS
from dobby_dagster.defs.jobs import plan_batches, summarize_batches
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.settings import Settings

# The name under which `dobby dev` serves the code location: the UI finds a run's job by it.
LOCATION = "dobby"
_INTERRUPTS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")


def run_job(settings: Settings, name: str, instance: dg.DagsterInstance, tags: dict[str, str]) -> JobExecutionResult:
    """Run the job ``name`` of the code location until it ends; a failure is in the result.

    Args:
        settings: For the assets and the resources.
        name: ``plan_batches`` or ``summarize_batches``.
        instance: Where the run is recorded.
        tags: Of the run.

    Raises:
        KeyboardInterrupt: The user interrupted it outside its steps; an interrupted step is a failure of the run.
    """
    definitions = dg.Definitions(
        assets=build_assets(settings),
        asset_checks=CHECKS,
        jobs=[plan_batches, summarize_batches],
        resources=build_resources(settings),
        executor=dg.in_process_executor,
    )
    repository = definitions.get_repository_def()
    job = repository.get_job(name)
    location = GrpcServerCodeLocationOrigin(host="localhost", socket="code.sock", location_name=LOCATION)
    run = instance.create_run_for_job(
        job_def=job,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        # The daemon can't retry a run that it did not launch.
        tags={**tags, "dagster/max_retries": "0"},
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, repository.name), name),
    )
    try:
        return execute_run(InMemoryJob(job), run, instance)
    except KeyboardInterrupt:  # before the first step or after the last: no step records the interrupt
        interrupted = instance.get_run_by_id(run.run_id)
        if interrupted is not None and not interrupted.is_finished:
            instance.report_run_canceled(interrupted, "Stopped by the user.")
        raise


def was_stopped(result: JobExecutionResult) -> bool:
    """Whether a user or the system interrupted the run."""
    return any(error.cls_name in _INTERRUPTS for error in _errors(result))


def cause(result: JobExecutionResult) -> DobbyError:
    """The error that made the run fail, as its innermost message."""
    for event in result.all_events:
        failure = getattr(event.event_specific_data, "user_failure_data", None)
        if event.is_failure and failure is not None and failure.description:
            return DobbyError(failure.description)
    for error in _errors(result):
        if error.cause is None:
            return DobbyError(error.message.strip().split(": ", 1)[-1])
    return DobbyError("the run failed; see its log in the Dagster UI")


def _errors(result: JobExecutionResult) -> Iterator[SerializableErrorInfo]:
    """The errors of all failed steps, each followed by its causes."""
    for event in result.all_events:
        error = getattr(event.event_specific_data, "error", None)
        while event.is_failure and error is not None:
            yield error
            error = error.cause
