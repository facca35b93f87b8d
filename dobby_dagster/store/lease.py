"""The inter-process lease on an embedded database.

Cozo's embedded engines can't be open in two processes while one of them writes. Every process of Dobby
opens the database only while it holds an advisory lock (``flock``) on ``PATH.lease`` and closes it
before letting go. The kernel drops the lock of a process that dies.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import portalocker

from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError


class Lease:
    """A lock on one database, across processes and threads. Not re-entrant; sessions are in the connection.

    Args:
        database: The database's path.
        timeout_seconds: Longest wait.
    """

    def __init__(self, database: Path, timeout_seconds: float) -> None:
        self.path = database.with_name(database.name + ".lease")
        self.timeout_seconds = timeout_seconds
        self._threads = threading.Lock()

    @contextmanager
    def hold(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lease; shared among readers unless ``exclusive``.

        Raises:
            StoreBusyError: After the longest wait; names the holder.
            StoreAccessError: The lease file can't be made.
        """
        deadline = time.monotonic() + self.timeout_seconds
        if not self._threads.acquire(timeout=self.timeout_seconds):
            raise self._busy()
        try:
            with self._file() as file:
                self._lock(file, exclusive, deadline)
                if exclusive:
                    self._write_holder(file)
                yield
        finally:
            self._threads.release()

    def holder(self) -> str:
        """Who held the lease exclusively last, for people."""
        try:
            row = json.loads(self.path.read_text())
            held = time.time() - row["since"]
            return f"process {row['pid']} ({row['command']}), for {held:.1f} s"
        except (OSError, ValueError, KeyError):
            return "an unknown process"

    def _file(self) -> IO[str]:
        try:
            return self.path.open("a+")
        except OSError as error:
            raise StoreAccessError(
                f"the database's folder {self.path.parent} can't be written: {error.strerror}",
                hint="make it, or choose another with --database",
            ) from error

    def _lock(self, file: IO[str], exclusive: bool, deadline: float) -> None:
        flags = portalocker.LockFlags.EXCLUSIVE if exclusive else portalocker.LockFlags.SHARED
        pause = 0.0005
        while True:
            try:
                portalocker.lock(file, flags | portalocker.LockFlags.NON_BLOCKING)
                return
            except portalocker.LockException:
                if time.monotonic() >= deadline:
                    raise self._busy() from None
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.02)

    def _busy(self) -> StoreBusyError:
        return StoreBusyError(
            f"the database is in use by {self.holder()}; waited {self.timeout_seconds:g} s for it",
            hint="wait for that process, or raise database.lease_timeout_seconds",
        )

    @staticmethod
    def _write_holder(file: IO[str]) -> None:
        command = " ".join(Path(part).name for part in sys.argv[:2]) or "python"
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"pid": os.getpid(), "command": command, "since": time.time()}))
        file.flush()
