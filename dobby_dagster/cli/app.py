"""The process ``dobby``: its signals and its exit status.

The commands are imported by :func:`main`, so that Ctrl-C during the first half second is handled like any other.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from dobby_dagster.cli.exit_codes import STOPPED


def restore_sigint() -> None:
    """Handle SIGINT in this process and in those that it starts.

    A shell script starts its background jobs with SIGINT ignored. Dagster handles SIGTERM only where SIGINT is handled,
    and its child processes inherit that: each would run on for half a minute after SIGTERM, and the run with it.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Run the command; its exit status is raised as SystemExit, and any error is one line on standard error."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    restore_sigint()
    with _exit_on_interrupt():
        from dobby_dagster.cli.command_tree import run
    sys.exit(run())


@contextmanager
def _exit_on_interrupt() -> Iterator[None]:
    """Ctrl-C in the block ends the process: raised within an import, it could come out as another exception."""

    def stop(*_: object) -> None:
        os.write(sys.stderr.fileno(), b"error: stopped; nothing was done\n")
        os._exit(STOPPED)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def process() -> NoReturn:
    """Run the command as a process of its own, the entry point of the console script.

    Once the command is over, a late Ctrl-C does not change its status. After an interrupt the interpreter is not shut
    down: with half-imported modules, that would end by SIGINT instead of with the status.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped; nothing was done\n")
    except SystemExit as ended:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if ended.code != STOPPED:
            raise
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(STOPPED)


if __name__ == "__main__":
    process()
