"""A run that was made in the terminal, executed again by the daemon, as the button "Re-execute" asks for it."""

import os
import subprocess
import time
from pathlib import Path

from dobby_dagster_tests.helpers.command import PROCESS
from dobby_dagster_tests.helpers.records import prepared
from dobby_dagster_tests.helpers.webserver import dagster_dev

RUNS = "{runsOrError{... on Runs{results{runId jobName status}}}}"
AGAIN = """mutation($p: ReexecutionParams!) {launchRunReexecution(reexecutionParams: $p) {
    __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""


def test_a_run_of_the_terminal_is_re_executed_from_the_ui(tmp_path: Path) -> None:
    prepared(tmp_path, 4).close()
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db", "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_AUTOMATION_ENABLED": "false",
    }  # fmt: skip
    subprocess.run(
        [*PROCESS, "summarize"], env={**os.environ, **environment},
        cwd=tmp_path, check=True, timeout=200, capture_output=True,
    )  # fmt: skip
    with dagster_dev(tmp_path, environment) as served:
        runs = served.ask(RUNS)["runsOrError"]["results"]
        [mine] = [run["runId"] for run in runs if run["jobName"] == "summarize_batches"]
        answer = served.ask(AGAIN, {"p": {"parentRunId": mine, "strategy": "ALL_STEPS"}})["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        deadline = time.monotonic() + 180
        status = ""
        while status not in ("SUCCESS", "FAILURE", "CANCELED") and time.monotonic() < deadline:
            time.sleep(0.5)
            runs = served.ask(RUNS)["runsOrError"]["results"]
            status = next(run["status"] for run in runs if run["runId"] == answer["run"]["runId"])
        assert status == "SUCCESS"
