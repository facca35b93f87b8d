"""The watchdog's process: it kills the run that started it once the run has stopped making progress.

Run as a script, with the file descriptor of the run's counters (see :mod:`dobby_dagster.domain.heartbeat`) as its
argument and its task as one line of JSON on standard input, whose end is the end of the run. Until a stall it imports
next to nothing, to stay small. Nothing here depends on the run's interpreter, which native code can block, or on its
being scheduled, which SIGSTOP ends.
"""

import json
import mmap
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any

LONGEST_INTERVAL = 5.0
# How long a killed process may take to end before this is reported.
PATIENCE_SECONDS = 10.0
IMPORT_SECONDS = 30.0


class IdleTimes:
    """How long each counter has stood still, in seconds.

    Only time in which this process ran counts: after a suspended laptop or a frozen container nothing is late.

    Args:
        counters: The run's.
        deadlines: Each with its ``kind``, ``seconds``, the place of its ``counter``, and the place of a counter that
            is 0 while the deadline does not hold (``only_if``; None: it always holds).

    >>> counters = memoryview(bytearray(24)).cast("Q")
    >>> commits = {"kind": "pipeline", "seconds": 3.0, "counter": 1, "only_if": None}
    >>> times = IdleTimes(counters, [commits, {"kind": "inference", "seconds": 2.0, "counter": 0, "only_if": 2}])
    >>> [times.late(1.0) for _ in range(3)]
    ['', '', 'pipeline']
    >>> counters[1] = counters[2] = 1
    >>> [times.late(1.0) for _ in range(3)]
    ['', 'inference', 'inference']
    """

    def __init__(self, counters: memoryview, deadlines: list[dict[str, Any]]) -> None:
        self._counters = counters
        self._deadlines = deadlines
        self._seen = {deadline["kind"]: 0 for deadline in deadlines}
        self.seconds = {deadline["kind"]: 0.0 for deadline in deadlines}

    def late(self, passed: float) -> str:
        """The kind whose deadline is over after ``passed`` more seconds; empty if none is."""
        for deadline in self._deadlines:
            kind, count = deadline["kind"], self._counters[deadline["counter"]]
            holds = deadline["only_if"] is None or self._counters[deadline["only_if"]] > 0
            self.seconds[kind] = self.seconds[kind] + passed if holds and count == self._seen[kind] else 0.0
            self._seen[kind] = count
        return next((d["kind"] for d in self._deadlines if self.seconds[d["kind"]] >= d["seconds"]), "")


def main() -> None:
    """Watch the parent process, and end it when it stalls."""
    # Ctrl-C and the end of a service are for the run; a run that is stopped with Ctrl-Z stops its watchdog with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    task = json.loads(sys.stdin.readline())
    counters = memoryview(mmap.mmap(int(sys.argv[1]), 0, prot=mmap.PROT_READ)).cast("Q")
    times = IdleTimes(counters, task["deadlines"])
    interval = min(LONGEST_INTERVAL, *(deadline["seconds"] / 10 for deadline in task["deadlines"]))
    before = time.monotonic()
    while not _is_over(interval) and _lives(task):
        now = time.monotonic()
        kind = times.late(min(now - before, 2 * interval))
        before = now
        if kind:
            _import(task["path"])
            # That took a moment, in which the run may have gone on, or ended in a process that lives on.
            if times.late(0.0) and not _is_over(0.0) and _lives(task):
                _end(task, kind, times.seconds[kind])


def _is_over(seconds: float) -> bool:
    """Whether the run ends within ``seconds``."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _lives(task: dict[str, Any]) -> bool:
    """Whether the run's process lives: a process gets another parent when its own ends, so no other one is meant."""
    return os.getppid() == int(task["pid"])


def _import(path: list[str]) -> None:
    """Import what records a stall, before the kill: no other run takes the claims in between.

    In a thread, so that a file system that hangs can't save the run.
    """
    import threading

    def load() -> None:
        with suppress(Exception):  # reported when it is needed
            import dobby_dagster.store.cozo_store  # noqa: F401

    sys.path[:] = path
    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    loading.join(IMPORT_SECONDS)


def _end(task: dict[str, Any], kind: str, seconds: float) -> None:
    """Kill the run's process, record why, and say so last: standard error may be closed, or not be read."""
    os.kill(task["pid"], signal.SIGKILL)
    died_by, pause = time.monotonic() + PATIENCE_SECONDS, 0.02
    while _lives(task):  # only then its claims and locks are free
        if time.monotonic() > died_by:
            hint = " (process 1 of a container can't be killed from within: start it with --init)"
            _tell("error", f"process {task['pid']} does not end{hint if task['pid'] == 1 else ''}")
            died_by, pause = float("inf"), 1.0
        time.sleep(pause)
    problem = _record(task, kind, seconds)
    [missing] = [deadline["missing"] for deadline in task["deadlines"] if deadline["kind"] == kind]
    _tell(
        "error",
        f"run {task['run'][:8]} made no progress and was ended: no {missing} for {seconds:.0f} s "
        f"({kind}.stall_seconds); the next run continues, and processes what was in progress last, in small groups",
    )
    if problem:
        _tell("warning", f"the stall was not recorded: {problem}")


def _record(task: dict[str, Any], kind: str, seconds: float) -> str:
    """Record the stall in the ledger; return why that failed, or an empty text."""
    try:
        from dobby_dagster.domain.settings import DatabaseSettings
        from dobby_dagster.domain.stall import StallKind
        from dobby_dagster.store.cozo_store import CozoStore

        store = CozoStore.open(DatabaseSettings(**task["database"]), create=False)
        store.stalls.record(task["run"], StallKind(kind), seconds)
    except BaseException as error:  # CozoDB's panics are no Exception
        return str(error) or type(error).__name__
    return ""


def _tell(level: str, message: str) -> None:
    """One line on the run's standard error, below an unfinished progress bar."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"\n{level}: {' '.join(message.split())}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
