"""Copies the logs of Dagster's services to standard error, without colours, invisible characters escaped.

A process of its own, so that runs in progress can still log when ``dobby dev`` is killed; it ends with the last of its
writers.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dobby_dagster.domain.printable import printable

LONGEST_LINE_BYTES = 65_536
LAST_LINES_SECONDS = 5.0
RESTART_SECONDS = 0.5
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def plain(line: bytes) -> str:
    r"""One line as text.

    >>> plain(b"\x1b[32mready\x1b[0m \x1b[2J\r\n")
    'ready \\x1b[2J'
    """
    return printable(_COLOUR.sub("", line.decode("utf-8", "replace").rstrip("\r\n")), lines=True)


@contextmanager
def filtered_log() -> Iterator[int]:
    """A file descriptor to write logs to; a process, which is restarted if it ends, copies them to standard error."""
    reading, writing = os.pipe()
    ended = threading.Event()
    keeper = threading.Thread(target=_keep_copying, args=(reading, ended), daemon=True)
    keeper.start()
    try:
        yield writing
    finally:
        ended.set()
        os.close(writing)
        keeper.join(LAST_LINES_SECONDS)
        os.close(reading)


def _keep_copying(reading: int, ended: threading.Event) -> None:
    """While this process has the pipe open, its writers wait for the next copier instead of failing."""
    while True:
        # The arguments are this module's own. Its own process group: Ctrl-C in the terminal does not stop it.
        copier = subprocess.Popen(
            [sys.executable, "-m", "dobby_dagster.cli.server.log_filter"], stdin=reading, start_new_session=True
        )
        copier.wait()
        if ended.wait(RESTART_SECONDS):
            return


def main() -> None:
    """Copy until the last writer has closed the pipe."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for line in iter(lambda: sys.stdin.buffer.readline(LONGEST_LINE_BYTES), b""):
        with suppress(OSError):  # a full disk or a closed terminal must not block the writers
            sys.stderr.write(plain(line) + "\n")
            sys.stderr.flush()


if __name__ == "__main__":
    main()
