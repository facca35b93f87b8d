"""The real Dagster web server and daemon, started for a test and stopped with all their children."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from dobby_dagster_tests.helpers.command import PROCESS

# What tells the kinds of process apart, in their command lines.
MARKS = {
    "supervisor": "dobby_dagster.cli.app", "code server": "grpc", "daemon": "dagster._daemon",
    "web server": "dobby_dagster.cli.server.web_server", "worker": "multiprocessing.spawn",
    "monitor": "dobby_dagster.cli.server.monitor_server", "watchdog": "watchdog_process",
    "log filter": "dobby_dagster.cli.server.log_filter",
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A running ``dobby dev``: its URL, its processes, and how to kill them."""

    def __init__(self, folder: Path, environment: dict[str, str], *options: str) -> None:
        self.folder, self.home = folder, environment["DAGSTER_HOME"]
        self.url, self.options = "", options
        self._environment = {**os.environ, "DOBBY_MONITOR_PORT": "0", **environment}
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on a free port of the loopback and wait until it answers."""
        port = free_port()
        with (self.folder / "dev.log").open("a") as log:
            self._supervisor = subprocess.Popen(
                [*PROCESS, "dev", "--port", str(port), *self.options],
                env=self._environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.url = f"http://127.0.0.1:{port}"
        self.wait_until_up()

    def wait_until_up(self, seconds: float = 120) -> None:
        """Wait until the web server answers and knows the code location."""
        query = "{repositoriesOrError{__typename ... on RepositoryConnection{nodes{name}}}}"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.ask(query)["repositoriesOrError"].get("nodes"):
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass
            if self._supervisor is not None and self._supervisor.poll() is not None:
                break
            time.sleep(0.5)
        raise RuntimeError(f"{self.url} did not come up: {(self.folder / 'dev.log').read_text()[-2000:]}")

    @property
    def token(self) -> str:
        """What lets a client in, where others can reach the server."""
        path = Path(self.home) / "login_token"
        return path.read_text() if path.exists() else ""

    def ask(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> Any:
        """The data that the server answers to a request as its own pages send it, but for ``headers``."""
        sent = {"content-type": "application/json", "origin": self.url, "authorization": f"Bearer {self.token}"}
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {**sent, **headers})
        return json.load(urllib.request.urlopen(request, timeout=60))["data"]

    def processes(self) -> list[psutil.Process]:
        """All processes that work on this DAGSTER_HOME, orphans included."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("DAGSTER_HOME") == self.home and process.pid != os.getpid():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def of(self, kind: str) -> list[psutil.Process]:
        """Those of one kind: one of ``MARKS``."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if any(MARKS[kind] in part for part in process.cmdline()[:5]):
                    found.append(process)
        return found

    def stop(self) -> None:
        """Ask the supervisor to stop, then see to it."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._supervisor.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(timeout=30)
        self.kill(self.processes())

    def kill(self, processes: list[psutil.Process], number: int = signal.SIGKILL) -> None:
        """Send a signal, and wait until they are gone."""
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(number)
        if self._supervisor is not None and any(process.pid == self._supervisor.pid for process in processes):
            self._supervisor.wait(timeout=10)
        psutil.wait_procs(processes, timeout=10)


@contextmanager
def dagster_dev(folder: Path, environment: dict[str, str], *options: str) -> Iterator[Served]:
    """``dobby dev`` on a free port of the loopback, up, and stopped at the end with all that it began."""
    served = Served(folder, environment, *options)
    try:
        served.start()
        yield served
    finally:
        served.stop()
