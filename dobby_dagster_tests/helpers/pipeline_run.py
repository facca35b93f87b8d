"""What a run does to a store: plan, summarise with an engine, commit; and what the report says afterwards."""

from __future__ import annotations

from collections.abc import Callable

from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk
from dobby_dagster_tests.helpers.fake_engine import FakeEngine

PROMPT = PromptLibrary.load().get("summary")
RUN = RunId("run")
RECIPE = Recipe(PROMPT.name, PROMPT.text, "fake", "0", {})


def run(
    store: CozoStore,
    engine: FakeEngine,
    chunk_size: int = 5,
    before_commit: Callable[[Chunk], None] = lambda c: None,
    recipe: Recipe = RECIPE,
) -> None:
    """Plan, then run every runnable batch as the assets do."""
    source = store.source(SourceSettings())
    plan(store, source, 20)

    with Summarizer(store, source, engine, PROMPT, recipe, chunk_size) as summarizer:
        for batch in store.states.unfinished("record", recipe.id, 3):
            scope = Scope(recipe.id, batch, RUN)
            members = [m for m in store.states.members_from(source, scope) if m.is_runnable(batch, 3)]
            for chunk in summarizer.summarize(members, scope):
                assert 0 < len(chunk.outcomes) <= chunk_size
                before_commit(chunk)
                store.chunks.commit(source, chunk, scope)


def entries(store: CozoStore, recipe: Recipe = RECIPE) -> dict[str, dict]:
    return {entry["key"]: entry for entry in store.reports.entries("record", recipe.id)}
