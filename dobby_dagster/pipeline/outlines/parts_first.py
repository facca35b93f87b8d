"""Files and folders whose contents hold the summaries of another model: their parts are summarised before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dobby_dagster.domain.records import Record, RecordVersion, content_hash
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.domain.states import PARTS_FIRST
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source


def waiting_for_parts(store: CozoStore, source: Source, recipe: RecipeId, records: Iterable[Record]) -> set[str]:
    """Keys of those of ``records`` whose contents were derived under another recipe, and not yet under ``recipe``."""
    if source.settings.relation != OWN_RELATION:
        return set()
    derived = [record.key for record in records if record.metadata.get("derived")]
    found = store.outlines.get(derived) if derived else {}
    return {key for key, each in found.items() if each.is_of_another(recipe)}


def bring_back(store: CozoStore, source: Source, recipe: RecipeId, same: Mapping[str, Record]) -> list[str]:
    """Have a batch cut of the records that a run left out for their parts; returns their keys.

    Args:
        store: Where states are.
        source: Of the records.
        recipe: Under which they were left out.
        same: Records by key, whose contents have just been derived and are what they were: no change of a row brings
            them back.
    """
    hashes = {key: content_hash(record.content) for key, record in same.items()}
    entries = store.reports.describe(OWN_RELATION, recipe, list(hashes.items())) if hashes else ()
    found = [entry["key"] for entry in entries if entry["reason"] == PARTS_FIRST]
    versions = [RecordVersion(OWN_RELATION, key, hashes[key], same[key].priority, same[key].size) for key in found]
    if versions:
        store.versions.note(source, versions, [])
    return found
