"""A real Prometheus, and its tool; skipped where Debian's package `prometheus` is not installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster_tests.helpers.webserver import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Debian's package `prometheus` is not installed",
)


def promtool(*arguments: str, given: str = "", folder: Path = DEPLOY / "prometheus") -> str:
    """What promtool prints; it must succeed."""
    done = subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, cwd=folder, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def filled(query: str) -> str:
    """A query of the dashboard as Grafana sends it."""
    for name, value in {"$job": "dobby", "$instance": ".+", "$__rate_interval": "10s"}.items():
        query = query.replace(name, value)
    return query


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        return self._get("query", query=expression)

    def query_range(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """The series of the last ``seconds``."""
        now = time.time()
        return self._get("query_range", query=expression, start=now - seconds, end=now, step=1)

    def value(self, expression: str) -> float | None:
        """The value of the only series; None where there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def _get(self, path: str, **parameters: object) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the URL ``target`` each second, with the rules in `deploy/`."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:3001", target.removeprefix("http://")).replace("15s", "1s")
    config = folder / "prometheus.yml"
    config.write_text(text.replace("rules.yml", str(DEPLOY / "prometheus" / "rules.yml")))
    port = free_port()
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
             f"--storage.tsdb.path={folder / 'tsdb'}"],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=20)
