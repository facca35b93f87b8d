"""The records that a filter may accept, found by the columns that it is about."""

from __future__ import annotations

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.pipeline.reporting.record_list import RecordFilter
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.matching_keys import matching_keys
from dobby_dagster.store.source.source_relation import Source


def filtered_keys(
    store: CozoStore, source: Source, recipe: RecipeId | None, wanted: RecordFilter
) -> frozenset[str] | None:
    """A set of keys that has those of all records that ``wanted`` accepts, and few others.

    It costs the reading of a column; None where no condition of ``wanted`` is about one.
    """
    found: list[set[str]] = []
    if wanted.language is not None:
        found.append(matching_keys(source, "language", lambda text: text.lower() == wanted.language))
    if wanted.kind is not None:
        found.append(matching_keys(source, "content_type", lambda text: text == wanted.kind))
    if wanted.below is not None:
        found.append(store.reports.keys_below(source.settings.relation, recipe, wanted.below))
    return frozenset(set.intersection(*found)) if found else None
