"""Choosing records by what a person says of them: to be made anew, or to be released from quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dobby_dagster.domain.errors import SettingsError, SourceError
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.domain.states import PENDING
from dobby_dagster.store.cozo_store import CozoStore


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` positions among ``count``, spread evenly: the same for the same count.

    >>> spread(9, 3), spread(2, 5)
    ([0, 3, 6], [0, 1])
    """
    taken = min(count, wanted)
    return [place * count // taken for place in range(taken)]


def release(store: CozoStore, relation: str, recipe: RecipeId, keys: Sequence[str] = ()) -> dict[BatchId, list[str]]:
    """Return failed records to pending, their tries forgotten: the keys by batch.

    Args:
        store: Where they are.
        relation: The source.
        recipe: Under which they failed.
        keys: Which; all that failed where none is named.

    Raises:
        SourceError: One of them is not failed; nothing is changed then.
    """
    rows = {row["key"]: row for row in store.states.failed(relation, recipe)}
    for key in keys:
        if key not in rows:
            raise SourceError(f"record '{key}' is not failed", hint="see dobby failed list")
    chosen: list[dict[str, Any]] = [rows[key] for key in keys or rows]
    released: dict[BatchId, list[str]] = {}
    for batch in sorted({row["batch"] for row in chosen}):
        mine = [row for row in chosen if row["batch"] == batch]
        versions = [RecordVersion(relation, row["key"], row["content_hash"]) for row in mine]
        store.states.set_states(versions, PENDING, Scope(recipe, batch))
        released[batch] = [row["key"] for row in mine]
    store.attempts.note_request(recipe, list(released))
    return released


def redo(
    store: CozoStore,
    relation: str,
    recipe: RecipeId,
    keys: Sequence[str] = (),
    prefix: str = "",
    confidence_below: float = 0.0,
) -> dict[BatchId, int]:
    """Delete the chosen summaries and return their records to pending: records by batch.

    Args:
        store: Where they are.
        relation: The source.
        recipe: Whose summaries; those of other models and prompts stay.
        keys: These records, and
        prefix: of all others those whose key begins so, and
        confidence_below: whose confidence is known and lower than that; 1 and more is any.

    Raises:
        SettingsError: Nothing was chosen.
        SourceError: One of ``keys`` has no summary; nothing is changed then.
    """
    if not keys and not prefix and confidence_below <= 0:
        raise SettingsError("no record was chosen", hint="name keys, a prefix, or a confidence")
    with_summary = {
        entry["key"]: entry["confidence"] for entry in store.reports.entries(relation, recipe) if entry["summary"]
    }
    for key in keys:
        if key not in with_summary:
            raise SourceError(f"record '{key}' has no summary to make anew", hint="see dobby show KEY")
    chosen = set(keys)
    if prefix or confidence_below > 0:
        whichever = not 0 < confidence_below < 1
        chosen |= {
            key
            for key, confidence in with_summary.items()
            if key.startswith(prefix) and (whichever or (confidence is not None and confidence < confidence_below))
        }
    batches = store.upkeep.redo(relation, recipe, sorted(chosen))
    store.attempts.note_request(recipe, list(batches))
    return batches
