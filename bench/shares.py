"""Where the time of ``dobby summarize`` goes: the command in a process of its own, with a clock on each part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.end_to_end import fill

_MARK = "bench-shares:"


def run(records: int) -> list[dict[str, object]]:
    """Seconds and share of each part, for so many records."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        fill(url, records)
        command = [sys.executable, "-W", "ignore", "-m", "bench.shares", url]
        environment = {**os.environ, "DAGSTER_HOME": f"{folder}/home"}
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
        whole = time.perf_counter() - began
        line = next(line for line in done.stdout.splitlines() if line.startswith(_MARK))
        spent: dict[str, float] = json.loads(line.removeprefix(_MARK))
    spent["process start, imports of Dagster and Dobby"] = whole - spent.pop("inside")
    spent["Dagster, frames, everything else"] = whole - sum(spent.values())
    return [
        {
            "part": part,
            "seconds": round(value, 2),
            "share": f"{value / whole:.1%}",
            "ms a record": value / records * 1000,
        }
        for part, value in sorted(spent.items(), key=lambda entry: -entry[1])
    ] + [{"part": "whole", "seconds": round(whole, 2), "share": "100%", "ms a record": whole / records * 1000}]


def _timed(owner: Any, name: str, part: str, spent: dict[str, float]) -> None:
    """Add the time of a method's own calls to a part."""
    plain: Callable[..., Any] = getattr(owner, name)

    def clocked(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(*args, **options)
        finally:
            spent[part] = spent.get(part, 0.0) + time.perf_counter() - began

    setattr(owner, name, clocked)


def _clocked(answers: Iterator[Any], part: str, spent: dict[str, float]) -> Iterator[Any]:
    """The same answers; the time that each was waited for is added to a part."""
    while True:
        began = time.perf_counter()
        answer = next(answers, None)
        spent[part] = spent.get(part, 0.0) + time.perf_counter() - began
        if answer is None:
            return
        yield answer


def _inside(url: str) -> None:
    from dobby_dagster.cli.command_tree import app
    from dobby_dagster.inference.local import local_engine
    from dobby_dagster.inference.local.prompt_encoding import Encoder
    from dobby_dagster.store.database.embedded_connection import EmbeddedConnection
    from dobby_dagster.store.ledger.chunks import Chunks

    spent: dict[str, float] = {}
    _timed(local_engine.LocalEngine, "_load", "model: its library, weights, tokenizer", spent)
    _timed(Encoder, "encode", "tokens", spent)
    _timed(Chunks, "commit", "commit of chunks", spent)
    _timed(EmbeddedConnection, "run", "CozoDB, all of it", spent)
    plain = local_engine.load_generator

    def watched(*args: Any) -> Any:
        loaded = plain(*args)
        run = loaded.generator.run
        loaded.generator.run = lambda sequences: _clocked(run(sequences), "inference", spent)
        return loaded

    local_engine.load_generator = watched
    began = time.perf_counter()
    try:
        app(["summarize", "-d", url, "--relation", "code", "--key", "id", "--language", "language", "--json"])
    except SystemExit as end:
        if end.code:
            raise
    spent["inside"] = time.perf_counter() - began
    commits = spent.pop("commit of chunks")
    spent["CozoDB: commits of chunks"] = commits
    spent["CozoDB: source, claims, planning"] = spent.pop("CozoDB, all of it") - commits
    print(_MARK + json.dumps(spent))


if __name__ == "__main__":
    _inside(sys.argv[1])
