"""The store's contracts, on new databases of 5,000 records."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil

from bench.contracts.measurement import Figures, Probe, in_new_process, seconds
from bench.pipeline_run import PAGE, database_settings, loaded_store
from bench.workload import functions
from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.records import RecordVersion, content_hash
from dobby_dagster.domain.scope import BatchId, RecipeId, RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.states import COMPLETED
from dobby_dagster.domain.summaries import Summary
from dobby_dagster.pipeline.reporting.batch_metrics import percentile
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.database.connect import connect
from dobby_dagster.store.ledger.chunk import Chunk, ChunkStats, Outcome

BACKENDS = ["sqlite", "rocksdb", *(["mnestic sqlite", "mnestic rocksdb"] if find_spec("mnestic") else [])]
RECORDS = 5_000
CONNECTIONS = 8


def probes() -> list[Probe]:
    """Each contract of the store, on each embedded backend."""
    actions = {
        _opening: ("store_ready_p95_seconds", "store_health_p95_seconds"),
        _reading: ("store_get_1_seconds", "store_get_100_seconds", "store_get_1000_seconds"),
        _streaming: ("store_first_row_seconds", "store_stream_rows_per_second"),
        _transactions: (
            "store_transaction_100_seconds",
            "store_transaction_1000_seconds",
            "store_rollback_1000_seconds",
        ),
        _committing: ("store_commit_64_seconds",),
        partial(in_new_process, _stream_memory): ("store_stream_buffer_bytes",),
        partial(in_new_process, _connection_memory): ("store_connection_bytes",),
    }
    return [
        Probe(backend, names, partial(action, backend)) for backend in BACKENDS for action, names in actions.items()
    ]


def _opening(backend: str) -> Figures:
    with loaded_store(backend, functions(RECORDS)) as store:
        settings = database_settings(backend, Path(store.connection.url.partition(":///")[2]))
        ready = [seconds(lambda: CozoStore.open(settings).health()) for _ in range(20)]
        health = [seconds(store.health) for _ in range(50)]
    return {
        "store_ready_p95_seconds": percentile(ready, 0.95),
        "store_health_p95_seconds": percentile(health, 0.95),
    }


def _reading(backend: str) -> Figures:
    with loaded_store(backend, functions(RECORDS)) as store:
        source = store.source(SourceSettings())
        keys = [f"k{i:05d}" for i in range(1_000)]
        return {
            f"store_get_{n}_seconds": statistics.median(seconds(partial(source.get, keys[:n])) for _ in range(5))
            for n in (1, 100, 1_000)
        }


def _streaming(backend: str) -> Figures:
    with loaded_store(backend, functions(RECORDS)) as store:
        source = store.source(SourceSettings())
        first = statistics.median(seconds(lambda: next(source.pages(1))) for _ in range(5))
        streaming = seconds(lambda: sum(len(page) for page in source.pages(PAGE)))
    return {"store_first_row_seconds": first, "store_stream_rows_per_second": RECORDS / streaming}


def _transactions(backend: str) -> Figures:
    """Each operation is a block of its own; one that fails at the end takes all of them back."""
    with loaded_store(backend, ["def f(): pass"]) as store:

        def operations(count: int, last: tuple[str, ...] = ()) -> float:
            puts = [f"{{ ?[key, content] <- [[$key{i}, 'x']] :put record {{key => content}} }}" for i in range(count)]
            parameters = {f"key{i}": f"t{count}-{i}" for i in range(count)}
            return seconds(lambda: store.connection.run(script([*puts, *last]), parameters, write=True))

        def rolled_back() -> float:
            began = time.perf_counter()
            try:
                operations(1_000, ("{ ?[key, content] <- [['k00000', 'y']] :insert record {key => content} }",))
            except StoreError:
                return time.perf_counter() - began
            raise AssertionError("the last operation was to fail")

        rollback = rolled_back()
        assert store.connection.run("?[count(key)] := *record{key}").rows == [[1]], "something was not rolled back"
        return {
            "store_transaction_100_seconds": operations(100),
            "store_transaction_1000_seconds": operations(1_000),
            "store_rollback_1000_seconds": rollback,
        }


def _committing(backend: str) -> Figures:
    contents = functions(1_280)
    with loaded_store(backend, contents) as store:
        source, scope = store.source(SourceSettings()), Scope(RecipeId("recipe"), BatchId("batch"), RunId("run"))
        times = []
        for begin in range(0, len(contents), 64):
            outcomes = [_outcome(f"k{i:05d}", contents[i]) for i in range(begin, begin + 64)]
            chunk = Chunk(outcomes, ChunkStats(1.0, 2.0, [0.01] * 64))
            times.append(seconds(partial(store.chunks.commit, source, chunk, scope)))
    return {"store_commit_64_seconds": statistics.median(times)}


def _outcome(key: str, content: str) -> Outcome:
    version = RecordVersion("record", key, content_hash(content))
    summary = Summary(
        "record", key, f"f{key}", version.content_hash, "What it does.", 0.5, -0.7, -1.0, "stop", 100, 10, False,
        "model", "summary@1", "recipe", "batch", 0.01, 1.0,
    )  # fmt: skip
    return Outcome(version, content, COMPLETED, summary, True)


def _stream_memory(backend: str) -> Figures:
    """The growth of a process that reads 20,000 records of about 4 kB, 80 MB in all, page by page."""
    contents = [f"# {i}\n" + "x = 'abcdefghijklmnopqrstuvwxyz'\n" * 125 for i in range(20_000)]
    with loaded_store(backend, contents) as store:
        del contents
        source = store.source(SourceSettings())
        next(source.pages(1))
        before, peak = _resident(), 0
        for _page in source.pages(PAGE):
            peak = max(peak, psutil.Process().memory_info().rss)
    return {"store_stream_buffer_bytes": max(0, peak - before)}


def _connection_memory(backend: str) -> Figures:
    """The growth of a process by each of eight databases that are open at once, after a first one."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:

        def open_one(number: int) -> None:
            settings = database_settings(backend, Path(folder, f"{number}.db"))
            CozoStore.open(settings)
            connection = connect(settings)
            opened.enter_context(connection.session())
            connection.run("?[count(key)] := *record{key}")

        open_one(0)
        before = _resident()
        for number in range(1, CONNECTIONS + 1):
            open_one(number)
        return {"store_connection_bytes": max(0.0, (_resident() - before) / CONNECTIONS)}


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)
