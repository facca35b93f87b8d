"""Every error of a command ends with one line and an exit status; logs of its services are plain lines."""

import os
import subprocess
import sys
import time

import psutil
import pytest
import typer

from dobby_dagster.cli.exit_status import exit_status
from dobby_dagster.cli.server.log_filter import filtered_log
from dobby_dagster.domain.errors import StoreError
from dobby_dagster_tests.helpers.hostile_text import invisible


class Panic(BaseException):
    """As pyo3 raises it for a panic in Rust."""


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (StoreError("it is gone", hint="look"), 1, "it is gone (look)"),
        (
            ValueError("bad \x1b[31mvalue\nerror: forged"),
            1,
            r"unexpected ValueError: bad \x1b[31mvalue\x0aerror: forged",
        ),
        (OSError(28, "No space left on device", "f\x1b.db"), 1, r"'f\x1b.db': No space left on device"),
        (RecursionError(), 1, "unexpected RecursionError: no message"),
        (MemoryError(), 1, "unexpected MemoryError"),
        (Panic("called `unwrap` on a None"), 1, "unexpected Panic: called `unwrap` on a None"),
        (BrokenPipeError(32, "Broken pipe"), 1, "Broken pipe"),
        (SystemExit("said so"), 1, "said so"),
        (typer.BadParameter("not so"), 2, "Invalid value: not so (see dobby --help)"),
        (KeyboardInterrupt(), 130, "stopped; what was committed is kept"),
    ],
)
def test_whatever_is_raised_is_one_line_and_a_status(
    raised: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise raised

    assert exit_status(command) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert " ".join(err.split()).startswith(f"error: {message}")
    assert "Traceback" not in err
    assert not invisible(err, "\n")


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (3, 3), ("text", 0)])
def test_a_command_may_return_its_status(returned: object, status: int) -> None:
    assert exit_status(lambda: returned) == status


def test_a_reader_who_goes_away_costs_no_message() -> None:
    line = f"{sys.executable} -m dobby_dagster.cli.app config | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), "the pipe may hold all of it"
    assert ended.stderr == ""


def test_what_services_log_is_plain_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with filtered_log() as log:
        os.write(log, b"\x1b[32m2026 - dagster\x1b[0m - ready \x1b]0;title\x07\r\n\xff\xe2\x80\xae\n")
        os.write(log, b"a" * 30_000 + b"\n")
    err = capfd.readouterr().err
    assert err.splitlines() == ["2026 - dagster - ready \\x1b]0;title\\x07", "\ufffd\\u202e", "a" * 30_000]


@pytest.mark.timeout(30)
def test_logs_go_on_when_the_process_that_copies_them_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    def copiers() -> list[psutil.Process]:
        found = [(process, process.status()) for process in psutil.Process().children()]
        alive = [process for process, status in found if status != psutil.STATUS_ZOMBIE]
        return [process for process in alive if any("log_filter" in part for part in process.cmdline())]

    with filtered_log() as log:
        for number in range(2):
            while not (found := copiers()):
                time.sleep(0.05)
            found[0].kill()
            found[0].wait(timeout=10)
            os.write(log, b"line %d\n" % number)
            while not (err := capfd.readouterr().err):
                time.sleep(0.05)
            assert err == f"line {number}\n"
    assert copiers() == []
