"""The databases that are measured: embedded ones, and one server that all workers share.

``python -m bench.scale.databases`` is the server: the tests' own, which speaks Cozo's HTTP interface over the embedded
engine, in one Python process. It stands for no other server's speed; ``--server URL`` measures a real one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.pipeline_run import PAGE, RECIPE
from bench.workload import functions
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore


@dataclass(frozen=True, slots=True)
class Database:
    """A database for one measurement, and the process that has it, if it is a server of ours."""

    url: str
    server: psutil.Process | None = None


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    """A new database of ``kind``: ``sqlite``, ``rocksdb``, ``server``, or the URL of a Cozo server that is empty."""
    if kind.startswith("http"):
        yield Database(kind)
    elif kind != "server":
        yield Database(f"{kind}:///{folder}/{kind}.db")
    else:
        command = [sys.executable, "-m", "bench.scale.databases"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        try:
            assert process.stdout is not None
            yield Database(process.stdout.readline().strip(), psutil.Process(process.pid))
        finally:
            process.kill()
            process.wait()


def put_records(store: CozoStore, first: int, end: int) -> None:
    """Records ``first`` to ``end`` of the workload: functions of the standard library, no two of them equal."""
    contents = functions(8_000)
    query = "?[key, content, language] <- $rows :put record {key => content, language}"
    for begin in range(first, end, PAGE):
        numbers = range(begin, min(end, begin + PAGE))
        rows = [[f"k{i:09d}", f"{contents[i % len(contents)]}\n# {i // len(contents)}", "python"] for i in numbers]
        store.connection.run(query, {"rows": rows}, write=True)


def planned(store: CozoStore, batch_size: int) -> list[str]:
    """Plan what is new, as a run does first; the identifiers of the new batches."""
    store.recipes.remember(RECIPE)
    return [batch.id for batch in plan(store, store.source(SourceSettings()), batch_size).batches]


def opened(url: str) -> CozoStore:
    """The store at ``url``, with patience for other processes."""
    return CozoStore.open(DatabaseSettings(url=url, lease_timeout_seconds=120.0, timeout_seconds=600.0))


def _serve() -> None:
    import threading

    from dobby_dagster_tests.helpers.cozo_server import running_server

    with running_server() as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    _serve()
