"""``dobby watch`` beside runs in other processes: what it says is what they committed."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.cli.commands import watch
from dobby_dagster.domain.errors import InferenceError, StoreBusyError
from dobby_dagster.domain.owner import new_owner
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.pipeline.monitoring.progress_reader import ProgressReader
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS, Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, said
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, RUN, run
from dobby_dagster_tests.helpers.records import put

RECORDS = 60


def slow_answer(number: int, body: dict[str, Any]) -> Reply:
    time.sleep(0.3)
    return (500, {}, {"error": "the server is out of order"}) if "FAIL" in str(body) else said()


@pytest.fixture
def served() -> Iterator[Scripted]:
    """A model server that takes its time, in use by the settings, and a database with records."""
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    put(store, {f"k{i:02d}": f"def f{i}(): return {i}" for i in range(RECORDS)})
    store.close()
    with Scripted(slow_answer) as server:
        Path("dobby.toml").write_text(
            f'[pipeline]\nbatch_size = 30\nchunk_size = 5\n[inference]\nslots = 4\n[model]\nurl = "{server.url}"\n'
            'served_name = "small"\n'
        )
        yield server


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_run_of_another_process_is_followed_to_its_end(tmp_path: Path) -> None:
    told = tmp_path / "told.jsonl"  # not a pipe, which would be full before the run ends on a slow machine
    with told.open("w") as output:
        watch = subprocess.Popen([*PROCESS, "watch", "--json", "--interval", "0.1"], stdout=output, text=True)
    finished = subprocess.run([*PROCESS, "summarize"], capture_output=True, text=True, check=True)
    deadline = time.monotonic() + 60
    while '"last_run": null' in told.read_text().splitlines()[-1] and time.monotonic() < deadline:
        time.sleep(0.1)
    watch.send_signal(signal.SIGINT)
    assert watch.wait(timeout=30) == 0
    readings = [json.loads(line) for line in told.read_text().splitlines()]
    assert {len(reading["runs"]) for reading in readings} == {0, 1}
    during = [reading["runs"][0] for reading in readings if reading["runs"]]
    assert len({seen["run"] for seen in during}) == 1
    done = [seen["completed"] for seen in during]
    assert done == sorted(done)
    assert len(set(done)) > 5, "chunk by chunk"
    assert {seen["total"] for seen in during} == {RECORDS}
    assert all(seen["completed"] + seen["remaining"] == RECORDS for seen in during)
    assert max(seen["slots_in_use"] for seen in during if seen["completed"] > 20) == pytest.approx(4, abs=0.5)
    last = readings[-1]
    assert (last["runs"], last["last_run"]["completed"], last["last_run"]["remaining"]) == ([], RECORDS, 0)
    assert f"Inferred {RECORDS} summaries" in finished.stdout


@pytest.mark.usefixtures("served")
def test_without_a_run_it_says_so_and_shows_the_last_one(dobby: Dobby) -> None:
    assert dobby("watch", "--once").out == "No run has committed anything to this database yet.\n"
    assert dobby("summarize").code == 0
    shown = dobby("watch", "--once").out
    assert "Nothing is running. The last run was " in shown
    assert f"{RECORDS} of {RECORDS} (100%): {RECORDS} completed, 0 failed, 0 skipped, 0 left" in shown
    assert "batch-000001 to batch-000002" in shown
    assert "unknown" not in shown, "what only a run in progress has is left out"


def test_a_reading_without_news_is_not_written_again_to_a_file(tmp_path: Path) -> None:
    CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db")).close()
    written = tmp_path / "watch.log"
    with written.open("w") as file:
        watch = subprocess.Popen([*PROCESS, "watch", "--interval", "0.05"], stdout=file)
    deadline = time.monotonic() + 30
    while not written.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    watch.send_signal(signal.SIGINT)
    assert watch.wait(timeout=30) == 0
    assert written.read_text() == "No run has committed anything to this database yet.\n"


def test_an_error_that_quotes_a_record_is_one_harmless_line(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    put(store, {"k": "FAIL"})
    monkeypatch.setattr(
        "dobby_dagster_tests.helpers.fake_engine.InferenceError",
        lambda text: InferenceError("it says [red]\x1b[31m\nsecond line"),
    )
    run(store, FakeEngine())
    store.close()
    shown = dobby("watch", "--once").out
    assert "it says [red]" in shown
    assert "\x1b" not in shown


def test_before_the_first_commit_the_process_of_a_run_is_unknown(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    put(store, {"k": "def f(): pass"})
    [batch] = plan(store, store.source(SourceSettings()), 100).batches
    scope = Scope(RECIPE.id, batch.id, RUN)
    store.claims.claim(store.states.members(scope), new_owner(), scope)
    store.close()
    shown = dict(line.split("  ", 1) for line in dobby("watch", "--once").out.splitlines() if "  " in line.strip())
    assert (shown["slots in use"].strip(), shown["memory"].strip()) == ("unknown", "unknown")
    [run] = json.loads(dobby("watch", "--once", "--json").out)["runs"]
    assert (run["slots"], run["slots_in_use"], run["memory_bytes"]) == (None, None, None)


def test_a_run_that_loads_its_model_is_named_before_its_first_claim(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    put(store, {"k": "def f(): pass"})
    run(store, FakeEngine())
    put(store, {"l": "def g(): pass"})
    [batch] = plan(store, store.source(SourceSettings()), 100).batches
    store.attempts.note_run(RECIPE.id, [batch.id], RunId("a-new-run"))
    store.close()
    shown = " ".join(dobby("watch", "--once").out.split())
    assert "Run a-new-ru of batch-000002 began at " in shown
    assert "has claimed no record yet: it loads the model, or it was ended." in shown
    assert "Nothing is running" not in shown
    assert "The last run was " in shown
    [starting] = json.loads(dobby("watch", "--once", "--json").out)["starting"]
    assert (starting["run"], starting["batches"]) == ("a-new-run", ["batch-000002"])
    assert time.time() - starting["since"] < 300


def test_a_run_that_was_ended_before_a_later_one_committed_is_not_named(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    store.attempts.note_run(RECIPE.id, [BatchId("batch-000001")], RunId("ended"))
    put(store, {"k": "def f(): pass"})
    run(store, FakeEngine())
    store.close()
    assert json.loads(dobby("watch", "--once", "--json").out)["starting"] == []


def test_how_long_a_run_waited_for_the_device_is_shown(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    put(store, {"k": "def f(): pass"})
    run(store, FakeEngine())
    assert "wait for the device" not in dobby("watch", "--once").out, "it is not known"
    store.activity.note_device_wait(RUN, 12.5)
    store.close()
    assert "12.5 s" in dobby("watch", "--once").out
    assert json.loads(dobby("watch", "--once", "--json").out)["last_run"]["device_wait_seconds"] == 12.5


@pytest.mark.parametrize("once", [False, True])
def test_a_database_that_is_locked_does_not_end_it(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], once: bool
) -> None:
    reader = ProgressReader(sqlite_store, 3)
    read, locked = reader.read, ["the database is in use by process 7 (dobby backup)"]
    monkeypatch.setattr(reader, "read", lambda: read() if not locked else busy(locked.pop()))
    readings = watch._readings(reader, None, 0.05, once)
    if once:
        with pytest.raises(StoreBusyError):
            next(readings)
        return
    assert next(readings).runs == []
    assert "the database is in use by process 7 (dobby backup); reading goes on" in capsys.readouterr().err


def busy(message: str) -> Any:
    raise StoreBusyError(message)


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "99999"])
def test_an_interval_out_of_range_is_refused(dobby: Dobby, interval: str) -> None:
    answer = dobby("watch", "--interval", interval)
    assert (answer.code, answer.out) == (2, "")
    assert "--interval" in answer.err
