"""Batches through the pipeline with a simulated engine, with a clock on each kind of operation.

``python -m bench.scale.timed_worker`` is one worker process: it reads its work as JSON from standard input, says that it
is ready, and works when it gets another line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench.pipeline_run import PROMPT, RECIPE
from bench.scale.simulated_engine import SimulatedEngine
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore

CHUNK = 60
LEASE_SECONDS = 120.0


@dataclass
class Spent:
    """What a worker did: records, and seconds.

    Attributes:
        records: Committed.
        seconds: From the first claim to the last commit.
        engine: Waiting for the simulated engine.
        claims, commits: Processor time of taking records, and of storing chunks.
        cpu: Processor time of everything.
        commit_times: How long each commit took, waiting included.
        started_at, ended_at: Seconds since the epoch.
    """

    records: int = 0
    seconds: float = 0.0
    engine: float = 0.0
    claims: float = 0.0
    commits: float = 0.0
    cpu: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    commit_times: list[float] = field(default_factory=list)


class TimedSummarizer(Summarizer):
    """The summarizer, with the time of its claims."""

    claim_seconds = 0.0

    def _claim(self, *args, **options):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN202
        began = time.process_time()
        try:
            return super()._claim(*args, **options)
        finally:
            self.claim_seconds += time.process_time() - began


def work(store: CozoStore, batches: Sequence[str], records_per_second: float) -> Spent:
    """Summarise ``batches``, one after another, as a run does."""
    source, spent = store.source(SourceSettings()), Spent(started_at=time.time())
    engine = SimulatedEngine(records_per_second)
    began, cpu = time.perf_counter(), time.process_time()
    with TimedSummarizer(store, source, engine, PROMPT, RECIPE, CHUNK) as summarizer:
        for batch in batches:
            scope = Scope(RECIPE.id, BatchId(batch), RunId(f"bench-{batch}"))
            for chunk in summarizer.summarize(store.states.members(scope), scope):
                cpu_before, before = time.process_time(), time.perf_counter()
                store.chunks.commit(source, chunk, scope)
                spent.commits += time.process_time() - cpu_before
                spent.commit_times.append(time.perf_counter() - before)
                spent.records += len(chunk.outcomes)
        spent.claims = summarizer.claim_seconds
    spent.seconds, spent.cpu, spent.ended_at = time.perf_counter() - began, time.process_time() - cpu, time.time()
    spent.engine = spent.records / records_per_second if records_per_second else 0.0
    return spent


def main() -> None:
    """One worker: work from standard input, figures to standard output."""
    asked = json.loads(sys.stdin.readline())
    store = CozoStore.open(DatabaseSettings(url=asked["url"], lease_timeout_seconds=LEASE_SECONDS))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(work(store, asked["batches"], asked["records_per_second"]))), flush=True)


if __name__ == "__main__":
    main()
