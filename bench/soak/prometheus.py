"""A real Prometheus that scrapes the system's monitor, and what it has to have seen by the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from dobby_dagster_tests.helpers.webserver import free_port

SCRAPE_SECONDS = 5
START_SECONDS = 30.0
_CONFIGURATION = """
global: {{scrape_interval: {scrape}s}}
scrape_configs:
  - job_name: dobby
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
# Kept in the result, by name: what they show over the whole run.
KEPT = {
    "scrapes": "count_over_time(up[{range}])",
    "scrapes that were answered": "sum_over_time(up[{range}])",
    "seconds of a scrape, longest": "max_over_time(scrape_duration_seconds[{range}])",
    "samples of a scrape": "scrape_samples_scraped",
    "records_total": "sum(dobby_records_total)",
    "tokens_total": "sum(dobby_tokens_total)",
}
# The counters are in the ledger, so no restart may set one back.
_COUNTERS = "{{__name__=~'dobby_.*_(total|count|sum|bucket)'}}[{range}]"
_STATES = "dobby_current_records"


class Prometheus:
    """A running one, asked over its HTTP interface."""

    def __init__(self, port: int) -> None:
        self._url, self._began = f"http://127.0.0.1:{port}", time.time()

    def ask(self, query: str) -> list[dict[str, Any]]:
        """What an instant query gives; ``{range}`` is the time since the start."""
        text = query.format(range=f"{int(time.time() - self._began) + 1}s")
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
            return list(json.load(answer)["data"]["result"])

    def seen(self) -> dict[str, float]:
        """The figures that are kept; what it has not seen is left out."""
        answers = {name: self.ask(query) for name, query in KEPT.items()}
        return {name: float(answer[0]["value"][1]) for name, answer in answers.items() if answer}

    def violations(self, ended: int, states: dict[str, int]) -> list[str]:
        """What it saw that is wrong: a counter that fell, or figures that are not those of the ledger.

        Args:
            ended: Records that came to a final state, of the whole run.
            states: Records by state, as they are now.
        """
        found = [
            f"Prometheus saw {row['metric']} fall from {before} to {after}"
            for row in self.ask(_COUNTERS)
            for (_, before), (_, after) in pairwise(row["values"])
            if float(after) < float(before)
        ]
        counted = self.ask(KEPT["records_total"])
        if not counted or float(counted[0]["value"][1]) != ended:
            found.append(f"Prometheus has {counted} in dobby_records_total, the ledger {ended}")
        now = {row["metric"]["state"]: float(row["value"][1]) for row in self.ask(_STATES)}
        for state, count in now.items():
            if count != states[state]:
                found.append(f"Prometheus has {count:g} records {state}, the ledger {states[state]}")
        return found if now else [*found, "Prometheus has no records by state"]


@contextmanager
def scraping(folder: Path, monitor_port: int) -> Iterator[Prometheus | None]:
    """A Prometheus that scrapes the monitor until the block ends; None where it is not installed.

    Raises:
        RuntimeError: It does not start.
    """
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    port = free_port()
    configuration = folder / "prometheus.yml"
    configuration.write_text(_CONFIGURATION.format(scrape=SCRAPE_SECONDS, port=monitor_port))
    command = [program, f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)  # noqa: S603
    try:
        _wait_until_ready(port, process, folder / "prometheus.log")
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"Prometheus did not start: {log.read_text()[-500:]}")
