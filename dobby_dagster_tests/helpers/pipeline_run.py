"""What a run does to a store: plan, summarise with an engine, commit; and what the report says afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.summarization.frames import chunk_of, outcome_frame, work_frame, work_items
from dobby_dagster.pipeline.summarization.summarizer import Item, Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunks import Chunk
from dobby_dagster_tests.helpers.fake_engine import FakeEngine

PROMPT = PromptLibrary.load().get("summary")
RUN = RunId("run")
RECIPE = Recipe(PROMPT.name, PROMPT.text, "fake", "0", {})


def run(
    store: CozoStore, engine: FakeEngine, chunk_size: int = 5, before_commit: Callable[[Chunk], None] = lambda c: None
) -> None:
    """Plan, then run every runnable batch as the assets do, frames included."""
    source = store.source(SourceSettings())
    plan(store, source, 20)

    def work() -> Iterator[tuple[BatchId, list[Item]]]:
        for batch in store.states.runnable_by_batch("record", RECIPE.id, 3):
            members = [m for m in store.states.members(Scope(RECIPE.id, batch)) if m.is_runnable(batch, 3)]
            for begin in range(0, len(members), chunk_size):
                part = members[begin : begin + chunk_size]
                found = source.get([m.version.key for m in part])
                yield work_items(work_frame(batch, [Item(m, found.get(m.version.key)) for m in part]))

    with Summarizer(store, engine, PROMPT, RECIPE, RUN, chunk_size) as summarizer:
        for batch, chunk in summarizer.summarize(work()):
            assert 0 < len(chunk.outcomes) <= chunk_size
            before_commit(chunk)
            name, again = chunk_of(outcome_frame(batch, chunk))
            assert name == batch
            store.chunks.commit(source, again, Scope(RECIPE.id, batch, RUN))


def entries(store: CozoStore) -> dict[str, dict]:
    return {entry["key"]: entry for entry in store.reports.entries("record", RECIPE.id)}
