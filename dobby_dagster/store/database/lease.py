"""The inter-process lease on an embedded database.

Cozo's embedded engines can't be open in two processes while one of them writes. Every process of Dobby
opens the database only while it holds an advisory lock (``flock``) on ``PATH.lease`` and closes it
before letting go. The kernel drops the lock of a process that dies.

Not every network file system makes the lock hold between machines. So the file also says which machine wrote last, and
while that is fresh another one is kept out: an embedded database belongs to one host.
"""

from __future__ import annotations

import errno
import json
import os
import random
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import portalocker

from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError
from dobby_dagster.domain.filesystem import PRIVATE_FILE
from dobby_dagster.domain.host import Host, this_host
from dobby_dagster.domain.printable import printable

# How long after its last write another machine keeps a database; containers of one machine share it.
FRESH_SECONDS = 30.0
_POLL_SECONDS = 0.5


class Lease:
    """A lock on one database, across processes and threads. Not re-entrant; sessions are in the connection.

    Args:
        database: The database's path.
        timeout_seconds: Longest wait.
    """

    def __init__(self, database: Path, timeout_seconds: float) -> None:
        self._database = database
        self.timeout_seconds = timeout_seconds
        self._threads = threading.Lock()

    @property
    def path(self) -> Path:
        """The file that is locked: beside the database itself, also where symbolic links lead there."""
        there = Path(os.path.realpath(self._database))
        return there.parent / f"{there.name}.lease"

    @contextmanager
    def hold(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lease; shared among readers unless ``exclusive``.

        Raises:
            StoreBusyError: After the longest wait; names the holder.
            StoreAccessError: The lease file can't be created.
        """
        deadline = time.monotonic() + self.timeout_seconds
        if not self._threads.acquire(timeout=self.timeout_seconds):
            raise self._busy()
        try:
            with self._file(exclusive) as file:
                if file is not None:
                    self._lock(file, exclusive, deadline)
                    self._wait_for_other_machine(file, exclusive, deadline)
                    if exclusive:
                        self._write_holder(file)
                yield
        finally:
            self._threads.release()

    def holder(self) -> str:
        """The process that last held the lease exclusively, described for a message."""
        try:
            row = json.loads(self.path.read_text())
            held = time.time() - float(row["since"])
            return f"process {int(row['pid'])} ({printable(str(row['command']))}), for {held:.1f} s"
        except (OSError, ValueError, KeyError, TypeError):
            return "an unknown process"

    @contextmanager
    def _file(self, exclusive: bool) -> Iterator[IO[str] | None]:
        """The lease's file; None where it is missing and can't be created, as on read-only media, where no process writes."""
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            handle = os.open(self.path, flags | os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as error:
            if exclusive or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise self._unusable(error) from error
            try:
                handle = os.open(self.path, flags | os.O_RDONLY)
            except OSError:
                yield None
                return
            with os.fdopen(handle) as file:
                yield file
            return
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            os.close(handle)
            raise StoreAccessError(f"the lease {self.path} is no regular file", hint="move it away")
        with os.fdopen(handle, "r+") as file:
            if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != self._mode():
                os.fchmod(handle, self._mode())
            yield file

    def _mode(self) -> int:
        """Permissions by which exactly those users can take the lease who can write the database."""
        try:
            return PRIVATE_FILE | (self._database.stat().st_mode & 0o022) * 3
        except OSError:
            return PRIVATE_FILE

    def _unusable(self, error: OSError) -> StoreAccessError:
        if error.errno == errno.ELOOP:
            return StoreAccessError(f"the lease {self.path} is a symbolic link", hint="move it away")
        if self.path.exists():
            who = self.path.stat().st_uid
            return StoreAccessError(
                f"the lease {self.path} can't be written: {error.strerror}; it belongs to user {who}",
                hint="run Dobby as that user, or share database and lease with a group",
            )
        return StoreAccessError(
            f"the database's folder {self.path.parent} can't be written: {error.strerror}",
            hint="choose another with --database; status, show and export only read",
        )

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

    def _wait_for_other_machine(self, file: IO[str], exclusive: bool, deadline: float) -> None:
        """Wait until no other machine has written for ``FRESH_SECONDS``; the lock is free meanwhile, so that it can.

        Raises:
            StoreBusyError: After the longest wait.
        """
        while (other := self._other_machine(file)) is not None:
            if time.monotonic() >= deadline:
                raise StoreBusyError(
                    f"the database belongs to host {printable(other.name)}, which used it less than "
                    f"{FRESH_SECONDS:g} s ago",
                    hint="end Dobby there; for several hosts, let a Cozo server have it and use its http:// address",
                )
            portalocker.unlock(file)
            time.sleep(_POLL_SECONDS)
            self._lock(file, exclusive, deadline)

    def _other_machine(self, file: IO[str]) -> Host | None:
        """The other machine that wrote last, if that was a moment ago."""
        file.seek(0)
        try:
            writer = Host.parse(json.loads(file.read())["host"])
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            return None
        if writer.boot in ("", this_host().boot):
            return None
        # A file that lies far ahead was written while the clock was wrong.
        return writer if abs(self._age(file)) < FRESH_SECONDS else None

    def _age(self, file: IO[str]) -> float:
        """Seconds since the file was written, by the clock of its file system: those of two machines may differ."""
        try:
            with tempfile.TemporaryFile(dir=self.path.parent) as now:
                return os.fstat(now.fileno()).st_mtime - os.fstat(file.fileno()).st_mtime
        except OSError:  # a folder that this process can't write
            return time.time() - os.fstat(file.fileno()).st_mtime

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
        file.write(json.dumps({"pid": os.getpid(), "command": command, "since": time.time(), "host": str(this_host())}))
        file.flush()
