"""Runs that hang in native code or are stopped: they are ended, and every record but the culprit gets its summary."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from dobby_dagster.domain.owner import pid_of
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS
from dobby_dagster_tests.helpers.hanging_engine import hanging_environment
from dobby_dagster_tests.helpers.records import prepared, put
from dobby_dagster_tests.helpers.webserver import dagster_dev

RECORDS = 40


def environment(folder: Path, **settings: object) -> dict[str, str]:
    return {
        **os.environ, "DATABASE_URL": f"sqlite:///{folder}/records.db", "DAGSTER_HOME": str(folder / "home"),
        "DOBBY_PIPELINE_CHUNK_SIZE": "5", "DOBBY_INFERENCE_STALL_SECONDS": "8", "DOBBY_PIPELINE_STALL_SECONDS": "60",
        **hanging_environment(folder), **{f"DOBBY_{name.upper()}": str(value) for name, value in settings.items()},
    }  # fmt: skip


def summarize(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROCESS, "summarize", "--json"], env=env, capture_output=True, text=True, timeout=240)


def answer(env: dict[str, str], *words: str) -> Any:
    done = subprocess.run([*PROCESS, *words, "--json"], env=env, capture_output=True, text=True, timeout=240)
    return json.loads(done.stdout)


def watchdogs(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if "watchdog_process.py" in " ".join(process.cmdline()) and process.environ()["DAGSTER_HOME"] == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def check_everything_but(store: CozoStore, culprits: dict[str, str]) -> None:
    """Every record has its summary, made once; the culprits are quarantined."""
    entries = {entry["key"]: entry for entry in store.reports.entries("record", store.recipes.latest())}
    failed = {key: entry["state"] for key, entry in entries.items() if entry["state"] != "completed"}
    assert failed == dict.fromkeys(culprits, "failed")
    rows = store.connection.run("?[inferred, chunk] := *dobby_chunk{chunk, inferred}").rows
    assert sum(row[0] for row in rows) == len(entries) - len(culprits)
    assert store.claims.owners() == []
    assert store.check() == []


@pytest.mark.parametrize("hang", ["HANGLOCKED", "HANGFREE"])
def test_a_terminal_run_that_hangs_is_ended_and_the_next_ones_isolate_the_record(tmp_path: Path, hang: str) -> None:
    store, env = prepared(tmp_path, RECORDS), environment(tmp_path)
    put(store, {"k0017": f"{hang} here"})
    for attempt in range(3):
        done = summarize(env)
        assert done.returncode == -signal.SIGKILL, done.stderr
        lines = [line for line in done.stderr.splitlines() if "no progress" in line]
        assert len(lines) == 1, done.stderr
        assert re.search(r"and was ended: no token for \d+ s \(inference.stall_seconds\)", lines[0])
        assert len(store.stalls.recent(0)) == attempt + 1
        assert store.claims.owners() == [], "its claims have returned"
    last = summarize(env)
    assert last.returncode == 0, last.stderr
    check_everything_but(store, {"k0017": hang})
    [failed] = answer(env, "failed", "list")
    assert (failed["key"], failed["error_code"], failed["retry_count"]) == ("k0017", "stalled", 3)
    assert failed["quarantined"]
    assert watchdogs(tmp_path / "home") == []
    assert [len(stall.keys) for stall in store.stalls.recent(0)][-1] == 1


def test_a_stopped_run_is_ended(tmp_path: Path) -> None:
    store, env = prepared(tmp_path, 0), environment(tmp_path)
    put(store, {f"k{i:04d}": f"SLOW word{i}" for i in range(RECORDS)})
    process = subprocess.Popen([*PROCESS, "summarize"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not store.totals.read().get("records"):
        assert process.poll() is None
        time.sleep(0.05)
    [watchdog] = watchdogs(tmp_path / "home")
    print(f"the watchdog has {watchdog.memory_info().rss / 1e6:.1f} MB, {watchdog.cpu_times()}")
    process.send_signal(signal.SIGSTOP)
    _, err = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    assert "made no progress" in err
    [stall] = store.stalls.recent(0)
    assert stall.keys
    done = summarize(env)
    assert done.returncode == 0, done.stderr
    check_everything_but(store, {})
    watchdog.wait(10)


def test_a_run_that_is_suspended_with_its_watchdog_goes_on(tmp_path: Path) -> None:
    """Ctrl-Z in a terminal stops the whole process group."""
    store, env = prepared(tmp_path, 0), environment(tmp_path, inference_stall_seconds=10, pipeline_stall_seconds=10)
    put(store, {f"k{i:04d}": f"SLOW word{i}" for i in range(RECORDS)})
    process = subprocess.Popen([*PROCESS, "summarize"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0)  # fmt: skip
    while not store.totals.read().get("records"):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(13)
    os.killpg(process.pid, signal.SIGCONT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    check_everything_but(store, {})


def test_a_watchdog_that_dies_costs_the_run_nothing_but_a_warning(tmp_path: Path) -> None:
    store, env = prepared(tmp_path, 0), environment(tmp_path)
    put(store, {f"k{i:04d}": f"SLOW word{i}" for i in range(RECORDS)})
    process = subprocess.Popen([*PROCESS, "summarize"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not store.totals.read().get("records"):
        assert process.poll() is None
        time.sleep(0.05)
    for watchdog in watchdogs(tmp_path / "home"):
        watchdog.kill()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "its watchdog ended with status -9" in err
    check_everything_but(store, {})


def test_a_run_is_ended_also_where_its_stall_can_not_be_recorded(tmp_path: Path) -> None:
    store, env = prepared(tmp_path, 5), environment(tmp_path, database_lease_timeout_seconds=1)
    put(store, {"k0003": "HANGFREE here"})
    process = subprocess.Popen([*PROCESS, "summarize"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not store.claims.owners():
        assert process.poll() is None
        time.sleep(0.05)
    with store.connection.session(write=True):
        _, err = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    assert "warning: the stall was not recorded" in err
    assert store.stalls.recent(0) == []
    assert len(store.claims.owners()) == 1, "recovery returns its claims"


def unattended(folder: Path) -> dict[str, str]:
    quick = {"interval_seconds": 2, "gather_seconds": 2, "retry_seconds": 1}
    return environment(folder, pipeline_batch_size=20, **{f"automation_{name}": value for name, value in quick.items()})


@pytest.mark.timeout(900)
def test_unattended_the_batch_is_retried_until_exactly_the_culprit_is_quarantined(tmp_path: Path) -> None:
    store = prepared(tmp_path, RECORDS)
    put(store, {"k0007": "HANGLOCKED here"})
    quick = {"interval_seconds": 2, "gather_seconds": 2, "retry_seconds": 1}
    env = environment(
        tmp_path, pipeline_batch_size=20, **{f"automation_{name}": value for name, value in quick.items()}
    )

    def status() -> dict[str, int]:
        return store.reports.status("record", store.recipes.latest())

    began = time.monotonic()
    with dagster_dev(tmp_path, env), dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        while status()["completed"] < RECORDS - 1 or not store.batch_reports.metrics("batch-000001"):
            assert time.monotonic() - began < 600, (status(), (tmp_path / "dev.log").read_text()[-3_000:])
            time.sleep(1)
        print(f"settled in {time.monotonic() - began:.0f} s")
        while any(not run.is_finished for run in instance.get_runs()):
            time.sleep(1)
        runs = instance.get_runs(filters=dg.RunsFilter(job_name="summarize_batches"))
        ended = [run for run in runs if run.status is dg.DagsterRunStatus.FAILURE]
        stalls = store.stalls.recent(0)
        assert {stall.run for stall in stalls} == {run.run_id for run in ended}, "each is marked as failed"
        assert len(stalls) == 3
        storage = instance.event_log_storage
        while storage.get_concurrency_info("device").active_run_ids:
            time.sleep(1)
        assert watchdogs(tmp_path / "home") == []
    check_everything_but(store, {"k0007": "HANGLOCKED"})
    [failed] = answer(env, "failed", "list")
    assert (failed["key"], failed["error_code"], failed["retry_count"], failed["quarantined"]) == (
        "k0007",
        "stalled",
        3,
        True,
    )
    assert "made no progress and was ended" in (tmp_path / "dev.log").read_text()


@pytest.mark.timeout(600)
def test_unattended_a_stopped_run_is_ended_and_its_records_are_completed(tmp_path: Path) -> None:
    store, env = prepared(tmp_path, 0), unattended(tmp_path)
    put(store, {f"k{i:04d}": f"SLOW word{i}" for i in range(RECORDS)})
    began = time.monotonic()
    with dagster_dev(tmp_path, env), dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        while not store.totals.read().get("records") or not store.claims.owners():
            assert time.monotonic() - began < 300, (tmp_path / "dev.log").read_text()[-3_000:]
            time.sleep(0.1)
        os.kill(pid_of(store.claims.owners()[0].owner), signal.SIGSTOP)
        while store.totals.read()["records"]["completed"] < RECORDS or not all(
            r.is_finished for r in instance.get_runs()
        ):
            assert time.monotonic() - began < 500, (tmp_path / "dev.log").read_text()[-3_000:]
            time.sleep(1)
    [stall] = store.stalls.recent(0)
    assert stall.keys
    check_everything_but(store, {})
