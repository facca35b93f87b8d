"""The real Dagster web server and daemon, started for a test and stopped with all their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def dagster_dev(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """``dobby dev`` on a free port of the loopback; yields its URL once it answers."""
    port = free_port()
    log = (folder / "dev.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "dobby_dagster.cli.app", "dev", "--port", str(port)],
        env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs([*children, psutil.Process(process.pid)], timeout=15)
        for child in alive:
            child.kill()
        log.close()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/server_info", timeout=2).read()
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"{url} did not come up")
