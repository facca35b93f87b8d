"""Records that a person selects: to be summarised again, or to be released from quarantine."""

from __future__ import annotations

from collections.abc import Sequence

from dobby_dagster.domain.errors import SettingsError, SourceError
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_states import Member


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` positions among ``count``, evenly spaced and deterministic.

    >>> evenly_spaced(9, 3), evenly_spaced(2, 5)
    ([0, 3, 6], [0, 1])
    """
    taken = min(count, wanted)
    return [place * count // taken for place in range(taken)]


def release(store: CozoStore, relation: str, recipe: RecipeId, keys: Sequence[str] = ()) -> dict[BatchId, list[str]]:
    """Return failed records to pending and reset their retry counts: the keys by batch.

    One that a run has claimed meanwhile is left to it.

    Args:
        store: Where they are.
        relation: The source.
        recipe: Under which they failed.
        keys: Which records; all failed ones where empty.

    Raises:
        SourceError: One of ``keys`` is not failed; nothing is changed then.
    """
    rows = {row["key"]: row for row in store.states.failed(relation, recipe)}
    for key in keys:
        if key not in rows:
            raise SourceError(f"record '{key}' is not failed", hint="see dobby failed list")
    chosen = [rows[key] for key in keys or rows]
    released: dict[BatchId, list[str]] = {}
    for batch in sorted({row["batch"] for row in chosen}):
        members = [row for row in chosen if row["batch"] == batch]
        failed = [
            Member(RecordVersion(relation, row["key"], row["content_hash"]), None, row["since"]) for row in members
        ]
        store.states.make_pending(failed, Scope(recipe, batch))
        released[batch] = [row["key"] for row in members]
        store.stalls.forget_suspects(recipe, batch, released[batch])
    store.attempts.note_request(recipe, list(released))
    return released


def discard_summaries(
    store: CozoStore,
    relation: str,
    recipe: RecipeId,
    keys: Sequence[str] = (),
    prefix: str = "",
    confidence_below: float = 0.0,
) -> dict[BatchId, int]:
    """Delete the selected summaries and return their records to pending: number of records by batch.

    Args:
        store: Where they are.
        relation: The source.
        recipe: Whose summaries; those of other models and prompts stay.
        keys: Records to select by key.
        prefix: Also select records whose key starts with this, if ``confidence_below`` allows.
        confidence_below: Select only records of a known, lower confidence, among those with the prefix or among all;
            0 and 1 are no restriction. Does not apply to ``keys``.

    Raises:
        SettingsError: Nothing was selected.
        SourceError: One of ``keys`` has no summary; nothing is changed then.
    """
    if not keys and not prefix and confidence_below <= 0:
        raise SettingsError("no record was chosen", hint="name keys, a prefix, or a confidence")
    confidences = {
        entry["key"]: entry["confidence"] for entry in store.reports.entries(relation, recipe) if entry["summary"]
    }
    for key in keys:
        if key not in confidences:
            raise SourceError(f"record '{key}' has no summary to replace", hint="see dobby show KEY")
    chosen = set(keys)
    if prefix or confidence_below > 0:
        any_confidence = not 0 < confidence_below < 1
        chosen |= {
            key
            for key, confidence in confidences.items()
            if key.startswith(prefix) and (any_confidence or (confidence is not None and confidence < confidence_below))
        }
    batches = store.upkeep.redo(relation, recipe, sorted(chosen))
    store.attempts.note_request(recipe, list(batches))
    return batches
