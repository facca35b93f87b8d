"""``dobby summarize`` in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bench.end_to_end import fill
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore


@contextmanager
def new_database(records: int) -> Iterator[str]:
    """The URL of a database with so many functions in a relation ``code``; its folder also gets Dagster's files."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        fill(url, records)
        yield url


class Summarize:
    """A process that summarises all records of a database.

    Attributes:
        started_at, ended_at: Seconds since the epoch.
        peak_bytes: The most resident memory, looked at five times a second.
        cpu_seconds: Processor time, as of the last look.
    """

    def __init__(self, url: str) -> None:
        folder = Path(url.removeprefix("sqlite:///")).parent
        relation = ["--relation", "code", "--key", "id", "--language", "language"]
        command = [sys.executable, "-m", "dobby_dagster.cli.app", "summarize", "-d", url, *relation, "--json"]
        self.store = CozoStore.open(DatabaseSettings(url=url))
        self.peak_bytes, self.cpu_seconds, self.ended_at = 0, 0.0, 0.0
        self.started_at = time.time()
        self._process = subprocess.Popen(  # noqa: S603
            command, env={**os.environ, "DAGSTER_HOME": str(folder / "home")},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._watcher = threading.Thread(target=self._look, daemon=True)
        self._watcher.start()

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait for its end; only a few failed records are no error."""
        status = self._process.wait()
        self.ended_at = time.time()
        self._watcher.join()
        assert status in (0, 1), f"dobby summarize ended with {status}"

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._watcher.join()

    def _look(self) -> None:
        watched = psutil.Process(self._process.pid)
        with suppress(psutil.Error):
            while self._process.poll() is None:
                times = watched.cpu_times()
                self.cpu_seconds = float(times.user + times.system)
                self.peak_bytes = max(self.peak_bytes, watched.memory_info().rss)
                time.sleep(0.2)
