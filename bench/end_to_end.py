"""``dobby summarize`` as a user runs it: process start, model load, Dagster, inference and commits included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.peak_memory import peak_memory
from bench.workload import functions
from dobby_dagster.store.database.connect import cozo_client


def fill(url: str, records: int) -> None:
    """A relation of so many functions, none equal to another: past those there are, the same with a comment."""
    contents = functions(min(records, 8_000))
    rows = [[f"k{i:06d}", f"{contents[i % len(contents)]}\n# {i // len(contents)}"] for i in range(records)]
    with cozo_client(url) as db:
        db.run(":create code {id: String => content: String, language: String}")
        for begin in range(0, records, 1_000):
            part = [[*row, "python"] for row in rows[begin : begin + 1_000]]
            db.run("?[id, content, language] <- $rows :put code {id => content, language}", {"rows": part})


def run(records: int) -> dict[str, float]:
    """Summarise so many records; wall seconds, records a minute, and the process's peak resident memory in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        fill(url, records)
        command = [
            sys.executable,
            "-m",
            "dobby_dagster.cli.app",
            "summarize",
            "-d",
            url,
            "--relation",
            "code",
            "--key",
            "id",
        ]
        environment = {**os.environ, "DAGSTER_HOME": f"{folder}/home"}
        began = time.perf_counter()
        with Path(folder, "out").open("w") as out:
            process = subprocess.Popen(  # noqa: S603
                [*command, "--language", "language", "--json"], env=environment, stdout=out, stderr=subprocess.DEVNULL
            )
            peak = peak_memory(process, 0.2)
        seconds = time.perf_counter() - began
        status = json.loads(Path(folder, "out").read_text())
        return {
            "records": records,
            "inferred": status["inferred"],
            "failed": status["failed"],
            "seconds": seconds,
            "records_per_minute": status["inferred"] / seconds * 60,
            "peak_bytes": peak,
        }
