"""Starts the watchdog of a run: a small process beside it."""

from __future__ import annotations

import json
import logging
import mmap
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from dobby_dagster.domain import heartbeat
from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.pipeline.monitoring import watchdog_process

# Where the watchdog looks: at the counter, and only if the other one is not 0.
_COUNTERS: Mapping[StallKind, Mapping[str, int | None]] = {
    StallKind.INFERENCE: {"counter": heartbeat.TOKENS, "only_if": heartbeat.AWAITING_TOKEN},
    StallKind.PIPELINE: {"counter": heartbeat.COMMITS, "only_if": None},
}
_END_SECONDS = 5.0
_log = logging.getLogger("dobby.watchdog")
_log.setLevel(logging.WARNING)


@contextmanager
def watched(run: RunId, database: DatabaseSettings, deadlines: Mapping[StallKind, float]) -> Iterator[None]:
    """End this process if it makes no progress while the block runs, see :mod:`dobby_dagster.domain.heartbeat`.

    If the watchdog can't start, or ends early, a warning is logged and the run goes on.

    Args:
        run: The run in this process.
        database: Where a stall is recorded.
        deadlines: Seconds without a token or a commit; 0 for no deadline.
    """
    deadlines = {kind: seconds for kind, seconds in deadlines.items() if seconds > 0}
    if not deadlines:
        yield
        return
    try:
        with tempfile.TemporaryFile() as file:
            file.truncate(heartbeat.BYTES)
            counters = memoryview(mmap.mmap(file.fileno(), heartbeat.BYTES)).cast("Q")
            process = _start(file.fileno(), run, database, deadlines)
    except (OSError, ValueError) as error:
        _log.warning("a run that stalls will not be ended: its watchdog does not start: %s", error)
        yield
        return
    over = threading.Event()
    waiting = threading.Thread(target=_warn_when_it_ends, args=(process, over), daemon=True, name="dobby-watchdog")
    waiting.start()
    try:
        with heartbeat.counted_in(counters):
            yield
    finally:
        over.set()
        with suppress(BrokenPipeError):  # it ended before it had read its task
            if process.stdin is not None:
                process.stdin.close()
        process.kill()  # a process forked meanwhile may hold the pipe open: it would kill what comes after the run
        waiting.join(_END_SECONDS)


def _start(
    counters: int, run: RunId, database: DatabaseSettings, deadlines: Mapping[StallKind, float]
) -> subprocess.Popen[bytes]:
    """The process, with its task; the database's secrets go through the pipe, where no other user can read them."""
    task = {
        "run": run,
        "pid": os.getpid(),
        "path": [folder for folder in sys.path if folder],
        "database": {name: _revealed(value) for name, value in database},
        "deadlines": [
            {"kind": kind, "missing": kind.missing, "seconds": seconds, **_COUNTERS[kind]}
            for kind, seconds in deadlines.items()
        ],
    }
    process = subprocess.Popen(  # noqa: S603  # this interpreter, and a module of this package
        [sys.executable, "-I", "-S", str(Path(watchdog_process.__file__)), str(counters)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=(counters,),
    )
    with suppress(BrokenPipeError):  # it ended at once; the thread that waits for it says so
        if process.stdin is not None:
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
    return process


def _revealed(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _warn_when_it_ends(process: subprocess.Popen[bytes], over: threading.Event) -> None:
    status = process.wait()
    if not over.is_set():
        _log.warning("a run that stalls will not be ended: its watchdog ended with status %d", status)
