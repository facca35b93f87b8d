"""The process ``dobby``: its signals and its exit status.

The commands are imported by :func:`main`, so that Ctrl-C in the first half second is answered like any other.
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


def heed_interrupts() -> None:
    """Let the process be stopped, and what it starts.

    A shell script starts its background jobs with SIGINT ignored. Dagster handles SIGTERM as it finds SIGINT handled,
    and its helpers inherit that: they would outlive their end by half a minute each, and the run with them.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Run the command; whatever happens in it is one line and a status, which is raised as SystemExit."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    heed_interrupts()
    with _stopped_at_once():
        from dobby_dagster.cli.command_tree import run
    sys.exit(run())


@contextmanager
def _stopped_at_once() -> Iterator[None]:
    """Ctrl-C ends the process in the block: an exception would come out of an import as any other error."""

    def stop(*_: object) -> None:
        os.write(sys.stderr.fileno(), b"error: stopped; nothing was done\n")
        os._exit(STOPPED)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def process() -> NoReturn:
    """Run the command as a process of its own.

    Once it is over, a late Ctrl-C does not change how it ended. After an interrupt the interpreter is not taken down:
    where modules are half imported, that would end by SIGINT and not with the status.
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
