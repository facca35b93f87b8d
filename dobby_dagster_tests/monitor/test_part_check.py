"""Checks end in time, whatever they wait for, and run once at a time."""

import subprocess
import sys
import threading
import time

import pytest

from dobby_dagster.domain.errors import StoreBusyError
from dobby_dagster.monitor.part_check import PartCheck, UnknownPartError, all_ok, examine
from dobby_dagster.monitor.single_flight import SingleFlight


def test_a_check_that_hangs_fails_in_time_and_is_not_started_again() -> None:
    ended, starts = threading.Event(), []

    def hang() -> str:
        starts.append(1)
        ended.wait(30)
        return "late"

    check = PartCheck(hang, 0.2)
    before = threading.active_count()
    results = [check.result() for _ in range(5)]
    assert [part.ok for part in results] == [False] * 5
    assert results[0].message == "no answer within 0.2 s"
    assert len(starts) == 1
    assert threading.active_count() <= before + 1
    ended.set()
    time.sleep(0.1)
    assert check.result().ok, "it works again"


def test_checks_run_side_by_side() -> None:
    meeting = threading.Barrier(3)

    def meet() -> str:
        meeting.wait(10)
        return "met"

    parts = examine({name: PartCheck(meet, 5.0) for name in "abc"})
    assert all_ok(parts.values())


def test_callers_share_one_call() -> None:
    starts, may_end = [], threading.Event()

    def slow() -> int:
        starts.append(1)
        may_end.wait(10)
        return len(starts)

    flight = SingleFlight(slow)
    calls = [flight.begin() for _ in range(4)]
    may_end.set()
    assert {call.result(5) for call in calls} == {1}
    assert flight.result(5) == 1, "a fresh result is given again"


@pytest.mark.parametrize(
    ("error", "ok", "message"),
    [
        (StoreBusyError("locked by process 7", hint="wait"), False, "locked by process 7 (wait)"),
        (UnknownPartError("not known"), None, "not known"),
        (ZeroDivisionError("of a check"), False, "ZeroDivisionError: of a check"),
        (KeyboardInterrupt("in a check"), False, "KeyboardInterrupt: in a check"),
    ],
)
def test_whatever_is_raised_is_a_result(error: BaseException, ok: bool | None, message: str) -> None:
    def fail() -> str:
        raise error

    part = PartCheck(fail, 1.0).result()
    assert (part.ok, part.message) == (ok, message)
    assert not all_ok([part])


def test_a_process_ends_while_a_check_hangs() -> None:
    code = (
        "import time; from dobby_dagster.monitor.part_check import PartCheck;"
        " print(PartCheck(lambda: time.sleep(600) or 'x', 0.1).result().ok)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "False\n"


def test_a_recent_result_is_given_without_waiting() -> None:
    starts, may_end = [], threading.Event()

    def slow() -> int:
        starts.append(1)
        if len(starts) > 1:
            may_end.wait(10)
        return len(starts)

    flight = SingleFlight(slow)
    assert flight.recent(5) == 1
    time.sleep(0.6)
    assert flight.recent(5) == 1, "the second call has started, and is not waited for"
    assert len(starts) == 2
    may_end.set()
    flight.result(5)
    assert flight.recent(5) == 2
