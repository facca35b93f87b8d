"""The soak: its events are seeded, its verdict sees what is wrong, and a short one of a real system ends well."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.soak.accounts import Accounts, accounts
from bench.soak.growth import growth
from bench.soak.record_writer import Writer
from bench.soak.timeline import BUSY_TO, CHANGE, LAST_KILL, TARGETS, timeline
from bench.verifier import copied, verify
from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.domain.owner import new_owner, pid_of
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.states import ProcessingState
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done
from dobby_dagster_tests.helpers.records import put

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("minutes", [1, 10, 80])
def test_the_events_are_seeded_and_every_process_is_killed(minutes: int) -> None:
    events = timeline(minutes, 5)
    assert events == timeline(minutes, 5) != timeline(minutes, 6)
    assert {event.target for event in events} == {*TARGETS, CHANGE}
    assert {event.signal for event in timeline(80, 5)} == {0, signal.SIGTERM, signal.SIGKILL}
    assert all(0 < event.at < minutes * 60 for event in events)
    assert [event.target for event in events if event.at > minutes * 60 * BUSY_TO] == ["all"], "then it is quiet"


def test_the_writer_is_seeded_and_its_memory_is_what_it_wrote() -> None:
    first, second = Writer(3, 4.0), Writer(3, 4.0)
    there: dict[str, str] = {}
    restored = copies = edits = 0
    for _ in range(100):
        rows, gone = first.step()
        assert (rows, gone) == second.step()
        assert not set(gone) & set(rows)
        edits += sum(key in there for key in rows)
        restored += sum(key in first.deleted for key in rows)
        copies += sum(content in there.values() for key, content in rows.items() if key not in first.deleted)
        there |= rows
        for key in gone:
            del there[key]
        for writer in (first, second):
            writer.note(rows, gone)
    assert there == first.live
    assert min(edits, restored, copies, len(first.deleted)) > 0


def _books(store: CozoStore, path: Path, killed: tuple[int, ...] = ()) -> Accounts:
    store.close()
    with copied(path) as client:
        return accounts(client, killed)


def test_what_was_started_again_is_explained_by_a_kill_or_is_a_violation(
    sqlite_store: CozoStore, tmp_path: Path
) -> None:
    path = tmp_path / "records.db"
    source, batch, members = batch_of(sqlite_store, {"a": "one", "b": "two", "c": "three"})
    scope = Scope(R, batch)
    owner = new_owner()
    sqlite_store.claims.claim(members, owner, scope)
    sqlite_store.claims.release(owner, scope)
    sqlite_store.claims.claim(members, owner, scope)
    commit(sqlite_store, source, batch, [done(m, c) for m, c in zip(members, ("one", "two", "three"), strict=True)])
    books = _books(sqlite_store, path, (pid_of(owner),))
    assert (books.started, books.restarted, books.inferred, books.violations) == (6, {"killed": 3}, 3, [])
    assert _books(sqlite_store, path).violations == [
        "3 records were started again, and no process of theirs was killed"
    ]
    versions = [members[0].version]
    sqlite_store.states.set_states(versions, ProcessingState.failed(InferenceError("late"), 1), scope)
    sqlite_store.claims.claim(sqlite_store.states.members(scope)[:1], owner, scope)
    violations = _books(sqlite_store, path, (pid_of(owner),)).violations
    assert violations == [
        "a (recipe recipe) was started again after it was completed",
        "chunks count 3 ended records, states 4, the counter 3",
    ]


def test_the_verdict_sees_what_is_lost_doubled_or_not_as_it_was_written(
    sqlite_store: CozoStore, tmp_path: Path
) -> None:
    path = tmp_path / "records.db"

    def found(journal: dict[str, str | None]) -> list[str]:
        sqlite_store.close()
        return verify(path, settled=False, quoting=False, journal=journal)

    put(sqlite_store, {"a": "one", "b": "two"})
    assert found({"a": "one", "b": "two", "c": None}) == []
    assert found({"a": "one", "b": "edited", "c": "new"}) == [
        "c was written and is lost",
        "b has another content than was written last",
    ]
    assert found({"a": "one", "b": None}) == ["b was deleted and is there"]
    assert found({"a": "one"}) == ["b was never written"]


def test_growth_is_of_processes_that_lived_through_the_quiet_part() -> None:
    minutes, began = 10.0, 1_000.0
    samples = [
        {
            "at": began + second,
            "processes": [
                {"kind": "daemon", "pid": 1, "uss": second, "rss": 5, "descriptors": 7, "threads": 2},
                {"kind": "worker", "pid": second, "uss": 1, "rss": 1, "descriptors": 1, "threads": 1},
            ],
        }
        for second in range(0, 600, 10)
    ]
    [row] = growth(samples, began, minutes)
    assert (row["process"], row["descriptors"]) == ("daemon", [7, 7])
    assert row["uss"][0] < minutes * 60 * (BUSY_TO + 0.1) < minutes * 60 * (LAST_KILL - 0.1) < row["uss"][1]


@pytest.mark.timeout(900)
def test_a_minute_of_kills_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "soak", "--minutes", "1", "--seed", "1", "--out", str(tmp_path / "out")]
    began = time.monotonic()
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3_000:]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    print(f"{time.monotonic() - began:.0f} s: {result}")
    assert result["violations"] == []
    assert result["states"]["records"] == result["live"] > 100
    assert result["states"]["completed"] + result["states"]["failed"] + result["states"]["skipped"] == result["live"]
    assert sum(count for event, count in result["events"].items() if ", SIG" in event) == len(TARGETS) + 1
    assert result["events"]["change of recipe"] == 1
    for picture in ("soak.svg", "soak.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for arguments, said in (
        (["--minutes", "0"], "must be above 0"),
        (["--minutes", "1", "--out", str(tmp_path / "full")], "is not empty"),
    ):
        command = [sys.executable, "-m", "bench", "soak", *arguments]
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert ended.returncode == 2
        assert said in ended.stderr.splitlines()[-1]
