"""Callers whose summaries were made when their callees' summaries said something else, or the calls were others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from dobby_dagster.domain.records import content_hash
from dobby_dagster.domain.scope import BatchId
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.domain.states import CALLEES_CHANGED
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.callees.callee_summaries import CalleeSummaries
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

PAGE = 500


def redo_outdated(
    store: CozoStore, source: Source, recipe: Recipe, keys: Sequence[str] | None = None
) -> dict[BatchId, int]:
    """Return outdated callers to pending, and discard their summaries: records by batch.

    A caller waits while a callee has no outcome: it is looked at again when that has one. What calls each other is told
    nothing of each other, so this ends: after each round, only callers further up can be outdated.

    Args:
        store: Where summaries are.
        source: The records.
        recipe: Whose summaries.
        keys: Look only at these records and at what calls them; at all records where None.
    """
    callees = CalleeSummaries(store, source, recipe)
    if not callees.is_on:
        return {}
    rows: Iterable[dict[str, Any]]
    if keys is None:
        rows = store.reports.rows(source, recipe.id)
    else:
        wanted = {*keys, *(caller for key in keys for caller in callees.calls.callers.get(key, ()))}
        rows = store.reports.rows_at(source, recipe.id, sorted(wanted))
    outdated: list[str] = []
    left = iter(rows)
    while page := list(islice(left, PAGE)):
        found = {row["key"]: row for row in page if row["fingerprint"] is not None}
        for key, told in callees.of(found).items():
            row = found[key]
            now = recipe.fingerprint(content_hash(row["content"]), row["language"], told.context)
            if told.is_final and row["fingerprint"] != now:
                outdated.append(key)
    batches = store.upkeep.redo(OWN_RELATION, recipe.id, outdated, CALLEES_CHANGED)
    store.attempts.note_request(recipe.id, list(batches))
    return batches
