"""The store's figures that contracts are about."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from bench.workload import functions
from dobby_dagster.domain.records import RecordVersion, content_hash
from dobby_dagster.domain.scope import BatchId, RecipeId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.states import COMPLETED
from dobby_dagster.domain.summaries import Summary
from dobby_dagster.pipeline.reporting.batch_metrics import percentile
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunks import Chunk, ChunkStats, Outcome


def seconds(action: Callable[[], Any]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def contracts(engine: str = "sqlite") -> dict[str, float]:
    """Each figure, in seconds or rows a second, on a new database of 5,000 records."""
    with tempfile.TemporaryDirectory() as folder:
        settings = DatabaseSettings(url=f"{engine}:///{folder}/bench.db")
        store = CozoStore.open(settings)
        contents = functions(5_000)
        rows = [[f"k{i:05d}", content] for i, content in enumerate(contents)]
        for begin in range(0, len(rows), 500):
            store.connection.run(
                "?[key, content] <- $rows :put record {key => content}", {"rows": rows[begin : begin + 500]}, write=True
            )
        source = store.source(SourceSettings())
        keys = [row[0] for row in rows]
        pages = source.pages(500)
        first = seconds(lambda: next(source.pages(1)))
        streaming = seconds(lambda: list(pages))
        return {
            "ready_p95_seconds": percentile([seconds(lambda: CozoStore.open(settings)) for _ in range(20)], 0.95),
            "health_p95_seconds": percentile([seconds(store.health) for _ in range(50)], 0.95),
            **{f"get_{n}_seconds": statistics.median(seconds(lambda n=n: source.get(keys[:n])) for _ in range(5)) for n in (1, 100, 1000)},
            "stream_first_row_seconds": first,
            "stream_rows_per_second": len(rows) / streaming,
            "commit_64_seconds": statistics.median(_commits(store, rows)),
        }  # fmt: skip


def _commits(store: CozoStore, rows: list[list[str]]) -> list[float]:
    source = store.source(SourceSettings())
    times = []
    scope = Scope(RecipeId("recipe"), BatchId("batch"), RunId("run"))
    for begin in range(0, 1_280, 64):
        outcomes = []
        for key, content in rows[begin : begin + 64]:
            version = RecordVersion("record", key, content_hash(content))
            summary = Summary(
                "record", key, f"f{key}", version.content_hash, "What it does.", 0.5, -0.7, -1.0, "stop", 100, 10, False,
                "model", "summary@1", "recipe", "batch", 0.01, 1.0,
            )  # fmt: skip
            outcomes.append(Outcome(version, content, COMPLETED, summary, True))
        chunk = Chunk(outcomes, ChunkStats(1.0, 2.0, [0.01] * 64))
        times.append(seconds(lambda chunk=chunk: store.chunks.commit(source, chunk, scope)))
    return times
