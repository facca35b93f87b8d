"""What a run prints by Dobby's ``dagster.yaml``, as `dobby dev` shows it, and what is stored of it."""

import dagster as dg
import pytest

from dobby_dagster.defs.runs.dagster_home import opened_instance
from dobby_dagster.domain.settings import Settings


@dg.op
def speak(context: dg.OpExecutionContext) -> None:
    context.log.info("64 of 100 records committed")
    raise ValueError("the disk is full")


def test_a_run_prints_progress_and_errors_and_stores_all_events(capfd: pytest.CaptureFixture[str]) -> None:
    job = dg.GraphDefinition("job", node_defs=[speak]).to_job()
    with opened_instance(Settings()) as instance:
        run = job.execute_in_process(instance=instance, raise_on_error=False).run_id
        stored = {entry.dagster_event_type for entry in instance.all_logs(run)}
    printed = capfd.readouterr().err
    assert "64 of 100 records committed" in printed
    assert "the disk is full" in printed
    assert "DEBUG" not in printed
    assert {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_START} <= stored
