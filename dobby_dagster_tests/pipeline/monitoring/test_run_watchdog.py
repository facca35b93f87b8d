"""The watchdog of a run: small, quiet, and gone with the run."""

import io
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from dobby_dagster.domain import heartbeat
from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.pipeline.monitoring import run_watchdog
from dobby_dagster.pipeline.monitoring.run_watchdog import watched

RUN = RunId("0123456789")
LONG = {StallKind.INFERENCE: 600.0, StallKind.PIPELINE: 3_600.0}
SETTINGS = DatabaseSettings(url="sqlite:///none.db")


def watchdogs() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "watchdog_process.py" in " ".join(child.cmdline())]


def test_it_lives_as_long_as_the_block_and_is_small() -> None:
    with watched(RUN, SETTINGS, LONG):
        [watchdog] = watchdogs()
        while watchdog.num_threads() and watchdog.memory_info().rss < 8 << 20:
            time.sleep(0.01)
        assert watchdog.memory_info().rss < 12 << 20
        heartbeat.token()
        assert watchdogs() == [watchdog]
    assert watchdogs() == []
    assert not heartbeat._counters


def test_it_ends_with_the_block_although_another_process_holds_its_pipe() -> None:
    read, write = os.pipe()
    with watched(RUN, SETTINGS, LONG):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    assert watchdogs() == []
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)


def test_without_deadlines_there_is_none() -> None:
    with watched(RUN, SETTINGS, dict.fromkeys(StallKind, 0.0)):
        assert watchdogs() == []


def test_one_that_can_not_start_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with watched(RUN, SETTINGS, LONG):
        pass
    assert "a run that stalls will not be ended: its watchdog does not start" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with watched(RUN, SETTINGS, LONG):
        assert watchdogs() == []
    assert len(caplog.records) == 2


def test_one_that_ends_early_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with watched(RUN, SETTINGS, LONG):
        [watchdog] = watchdogs()
        watchdog.kill()
        while not caplog.records:
            time.sleep(0.01)
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.WARNING, "a run that stalls will not be ended: its watchdog ended with status -9")
    ]


def test_secrets_go_through_the_pipe_only(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Started:
        def __init__(self, command: list[str], **options: object) -> None:
            self.stdin, self.command = io.BytesIO(), command
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Started)
    settings = DatabaseSettings(url="http://127.0.0.1:1", auth="geheim")
    run_watchdog._start(3, RUN, settings, LONG)
    assert "geheim" not in " ".join(started[0].command)
    task = json.loads(started[0].stdin.getvalue())
    assert DatabaseSettings(**task["database"]) == settings
    assert task["database"]["auth"] == "geheim"
    assert task["pid"] == os.getpid()


def test_one_that_ends_before_it_has_its_task_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def ended(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process = start([sys.executable, "-c", ""], **options)
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        return process

    monkeypatch.setattr(subprocess, "Popen", ended)
    with watched(RUN, SETTINGS, LONG):
        pass


ENDING = """
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.pipeline.monitoring.run_watchdog import watched
from dobby_dagster.domain.stall import StallKind
sys.path.insert(0, str(folder))  # for the watchdog, which imports from there slowly
with watched(RunId("0123456789"), DatabaseSettings(url="sqlite:///none.db"), {StallKind.PIPELINE: 0.5}):
    while not (folder / "importing").exists():
        time.sleep(0.01)
print("over", flush=True)
time.sleep(1)
print("alive", flush=True)
"""


@pytest.mark.slow
def test_a_run_that_ends_while_its_watchdog_makes_ready_is_not_killed(tmp_path: Path) -> None:
    folder = tmp_path / "slow"  # not the working directory, from which the run imports
    store = folder / "dobby_dagster" / "store"
    store.mkdir(parents=True)
    (store.parent / "__init__.py").touch()
    (store / "__init__.py").touch()
    (store / "cozo_store.py").write_text(
        f"import time; from pathlib import Path; Path({str(folder / 'importing')!r}).touch(); time.sleep(1)"
    )
    done = subprocess.run([sys.executable, "-c", ENDING, str(folder)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "over\nalive\n"), done.stderr


RUNNER = """
import sys, time
from dobby_dagster.domain import heartbeat
from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.pipeline.monitoring.run_watchdog import watched
from dobby_dagster.domain.stall import StallKind
with watched(RunId("0123456789"), DatabaseSettings(url="sqlite:///none.db"), {StallKind.INFERENCE: 1.0, StallKind.PIPELINE: 3.0}):
    for step in range(30):
        time.sleep(0.1)
        heartbeat.commit()  # no token is expected, and none comes
    for answer in heartbeat.awaiting_tokens(range(15)):
        time.sleep(0.1)
        heartbeat.commit()
    print("working", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_run_that_commits_but_awaits_no_token_is_not_ended(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", RUNNER], capture_output=True, text=True, timeout=60)
    assert done.returncode == -9
    assert done.stdout == "working\n"
    assert "run 01234567 made no progress and was ended: no commit for 3 s (pipeline.stall_seconds)" in done.stderr
    assert "warning: the stall was not recorded" in done.stderr, "there is no such database"
    assert not Path("none.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["gone", "blocked"])
def test_a_run_is_ended_also_where_nobody_reads_why(reader: str) -> None:
    read, write = os.pipe()
    if reader == "blocked":
        os.set_blocking(write, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(write, bytes(1 << 16))
        os.set_blocking(write, True)
    else:
        os.close(read)
    process = subprocess.Popen([sys.executable, "-c", RUNNER], stdout=subprocess.DEVNULL, stderr=write)
    os.close(write)
    assert process.wait(60) == -9
    if reader == "blocked":
        os.close(read)


@pytest.mark.slow
def test_a_run_that_dies_takes_its_watchdog_with_it() -> None:
    code = RUNNER.split("    for step")[0] + "    print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    [watchdog] = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    watchdog.wait(10)
