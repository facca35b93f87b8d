"""Killed in the middle, ten times: no record lost, none twice, at most a window started again for each kill.

And while a run works, others look on without an error.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dobby_dagster.pipeline.reporting.invariants import examine
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS
from dobby_dagster_tests.helpers.records import prepared, put

CHUNK = 10
SLOTS = 4
# What is claimed at once, so that the slots stay full.
WINDOW = 16
RECORDS = 400


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db",
        "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_PIPELINE_CHUNK_SIZE": str(CHUNK),
        "DOBBY_PIPELINE_BATCH_SIZE": "100",
        "DOBBY_INFERENCE_SLOTS": str(SLOTS),
    }


def claims(store: CozoStore) -> int:
    """How often a record was started: an upper bound of how often it was inferred."""
    return int(store.connection.run("?[count(at)] := *dobby_state{key, at, state}, state == 'in_progress'").rows[0][0])


def settled(store: CozoStore) -> int:
    status = store.reports.status("record", store.recipes.latest())
    return status["completed"] + status["failed"] + status["skipped"]


@pytest.mark.timeout(900)
def test_ten_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    store = prepared(tmp_path, RECORDS)
    rng = random.Random(7)
    kills = 0
    while kills < 10 and settled(store) < RECORDS - 2 * CHUNK:
        process = subprocess.Popen([*PROCESS, "summarize"], env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        goal = settled(store) + rng.randint(0, 3) * CHUNK
        deadline = time.monotonic() + 60
        while settled(store) < goal + 1 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(rng.uniform(0.05, 0.15))  # a look takes the time of a commit
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills == 10
    last = subprocess.run(
        [*PROCESS, "summarize", "--json"], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert last.returncode == 0, last.stderr
    status = json.loads(last.stdout)
    assert status["records"] == RECORDS
    assert status["completed"] + status["failed"] == RECORDS
    assert (status["pending"], status["in_progress"]) == (0, 0)
    assert status["summaries"] == status["completed"]
    again = claims(store) - RECORDS
    assert 0 <= again <= kills * WINDOW, f"{again} records were started again after {kills} kills"
    import dagster as dg

    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        runs = instance.get_runs()
        assert {run.status for run in runs} <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
        assert any(run.status == dg.DagsterRunStatus.FAILURE for run in runs)
    recorded = sum(row[0] for row in store.connection.run("?[inferred, chunk] := *dobby_chunk{chunk, inferred}").rows)
    assert recorded == status["completed"]
    from dobby_dagster.domain.settings_loader import load_settings
    from dobby_dagster.inference.prompts import chosen_prompt
    from dobby_dagster.inference.recipe import recipe_of

    settings = load_settings().settings
    prompt = chosen_prompt(settings.prompt)
    recipe = recipe_of(settings.model, settings.inference, prompt)
    found = examine(store, recipe, prompt, [batch.id for batch in store.versions.batches()])
    assert (found.unaccounted, found.degenerate, found.mismatched) == ([], [], [])


def test_others_look_on_without_an_error_while_a_run_works(tmp_path: Path) -> None:
    store = prepared(tmp_path, 150)
    env = environment(tmp_path)
    loop = f"for i in $(seq 5); do {' '.join(PROCESS)} status --json || exit 1; done"
    run = subprocess.Popen(
        [*PROCESS, "summarize", "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watchers = [
        subprocess.Popen(["bash", "-c", loop], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for watcher in watchers:
        out, err = watcher.communicate(timeout=200)
        assert watcher.returncode == 0, err
        assert err == ""
        seen = [json.loads(line) for line in out.splitlines()]
        assert all(status["pending"] >= 0 for status in seen)
        settled_so_far = [status["completed"] + status["failed"] + status["skipped"] for status in seen]
        assert settled_so_far == sorted(settled_so_far)
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert json.loads(out)["completed"] + json.loads(out)["failed"] == 150
    assert store.health().seconds < 5


def test_a_stop_by_the_user_keeps_what_was_done(tmp_path: Path) -> None:
    store = prepared(tmp_path, RECORDS)
    process = subprocess.Popen([*PROCESS, "summarize"], env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    while settled(store) < 2 * CHUNK and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0, out
    assert "Traceback" not in err
    status = store.reports.status("record", store.recipes.latest())
    assert status["in_progress"] == 0
    assert status["completed"] >= 2 * CHUNK - 2
    assert status["pending"] > 0


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime on the PATH")
def test_a_clock_set_back_an_hour_hides_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    store = prepared(tmp_path, 60)

    def summarize(*clock: str) -> dict[str, int]:
        command = [*clock, *PROCESS, "summarize", "--json"]
        done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    back = ("faketime", "-f", "-1h")
    first = summarize()
    assert first["completed"] + first["failed"] == claims(store) == 60
    put(store, {f"k{i:04d}": f"def f{i}(a):\n    return a * {i} + 1\n" for i in (*range(10), *range(100, 120))})
    set_back = summarize(*back)
    assert (set_back["completed"] + set_back["failed"], set_back["pending"], claims(store)) == (80, 0, 90)
    assert summarize(*back)["inferred"] == 0
    assert summarize()["inferred"] == 0
    events = store.states.history("record", "k0003")
    assert [event["event"] for event in events if event["event"] in ("seen", "completed", "failed")][::2] == [
        "seen",
        "seen",
    ]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    put(store, {f"k{i:04d}": f"def f{i}(a):\n    return a - {i}\n" for i in range(200, 400)})
    before = settled(store)
    process = subprocess.Popen([*back, *PROCESS, "summarize"], env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    while settled(store) < before + CHUNK and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    last = summarize()
    assert last["completed"] + last["failed"] == 280
    assert claims(store) <= 60 + 30 + 200 + CHUNK


def test_a_background_job_of_a_script_can_be_stopped_and_so_can_what_it_starts(tmp_path: Path) -> None:
    prepared(tmp_path, 5)
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell without job control starts it
from dobby_dagster.cli.app import main
sys.argv = ["dobby", "summarize", "--json"]
try:
    main()
except SystemExit as end:
    assert not end.code
ignored = [name for name in ("SIGINT", "SIGTERM") if signal.getsignal(getattr(signal, name)) == signal.SIG_IGN]
sys.exit(f"ignored: {ignored}" if ignored else 0)
"""
    with Path(tmp_path, "out").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(tmp_path), stdout=out, stderr=subprocess.PIPE
        )
    assert done.returncode == 0, done.stderr[-500:]
    assert json.loads(Path(tmp_path, "out").read_text())["settled"] == 5
