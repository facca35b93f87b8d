"""A batch through the pipeline in this process: planned, claimed, inferred, gated and committed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.engine import Engine
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk
from dobby_dagster.store.source.source_relation import Source

PROMPT = PromptLibrary.load().get("summary")
RECIPE = Recipe(PROMPT.name, PROMPT.text, "bench", "0", {})
# What the planner reads at once.
PAGE = 500


def database_settings(backend: str, path: Path) -> DatabaseSettings:
    """A database at ``path``, of a backend such as ``sqlite`` or, with a driver, ``mnestic rocksdb``."""
    driver, _, engine = backend.rpartition(" ")
    return DatabaseSettings.model_validate({"url": f"{engine}:///{path}", "driver": driver or "cozo"})


@contextmanager
def loaded_store(backend: str, contents: list[str]) -> Iterator[CozoStore]:
    """A new database with ``contents`` as records ``k00000``, ``k00001``, and so on."""
    with tempfile.TemporaryDirectory() as folder:
        store = CozoStore.open(database_settings(backend, Path(folder, "bench.db")))
        rows = [[f"k{i:05d}", content] for i, content in enumerate(contents)]
        for begin in range(0, len(rows), PAGE):
            query = "?[key, content] <- $rows :put record {key => content}"
            store.connection.run(query, {"rows": rows[begin : begin + PAGE]}, write=True)
        yield store


class BatchRun:
    """One batch, run as its chunks are pulled from :attr:`chunks`; what it took so far.

    Args:
        store: With records and no batch yet.
        engine: Loaded already, so that loading is not measured.
        chunk_size: Maximum outcomes of a chunk.
    """

    def __init__(self, store: CozoStore, engine: Engine, chunk_size: int) -> None:
        self._store, self._engine = store, engine
        self.inferred = self.failed = 0
        self.seconds = self.cpu_seconds = self.slot_seconds = 0.0
        source = store.source(SourceSettings())
        [batch] = plan(store, source, 100_000).batches
        store.recipes.remember(RECIPE)
        self.chunks = self._run(source, Scope(RECIPE.id, batch.id, RunId("bench")), chunk_size)

    def _run(self, source: Source, scope: Scope, chunk_size: int) -> Iterator[Chunk]:
        members = self._store.states.members(scope)
        began, cpu, slots = time.perf_counter(), _cpu_seconds(), self._engine.slot_use.seconds
        with Summarizer(self._store, source, self._engine, PROMPT, RECIPE, chunk_size) as summarizer:
            for chunk in summarizer.summarize(members, scope):
                self._store.chunks.commit(source, chunk, scope)
                self.inferred += sum(outcome.inferred for outcome in chunk.outcomes)
                self.failed += sum(outcome.summary is None for outcome in chunk.outcomes)
                self.seconds = time.perf_counter() - began
                self.cpu_seconds = _cpu_seconds() - cpu
                self.slot_seconds = self._engine.slot_use.seconds - slots
                yield chunk


def stream(store: CozoStore, engine: Engine, chunk_size: int) -> BatchRun:
    """A run of all records of ``store``, with the model loaded before it begins."""
    engine.load()
    return BatchRun(store, engine, chunk_size)


def _cpu_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)
