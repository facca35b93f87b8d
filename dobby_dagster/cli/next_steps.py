"""What ``dobby summarize`` prints at the end: some of the summaries, and commands to run next."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from dobby_dagster.domain.addresses import mask_credentials
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.states import State

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.domain.scope import RecipeId
    from dobby_dagster.store.cozo_store import CozoStore

Shown = tuple[str, str, str]


def sample(
    store: CozoStore, relation: str, recipe: RecipeId, runs: Sequence[str], count: int
) -> tuple[str, list[Shown]]:
    """At most ``count`` summaries of this command's ``runs``, the newest first; if there are none, a sample of all.

    Args:
        store: Where they are.
        relation: The source.
        recipe: Under which they were made.
        runs: The command's runs, in order.
        count: How many to show.

    Returns:
        A title; and key, text and confidence of each, as they are shown.
    """
    if not count:
        return "", []
    rows = _of_runs(store, relation, recipe, runs, count)
    if rows:
        return "Summaries of this run, the newest first", rows
    rows = _of_all(store, relation, recipe, count)
    return f"A sample of {counted(len(rows), 'summary')} of earlier runs", rows


def _of_runs(store: CozoStore, relation: str, recipe: RecipeId, runs: Sequence[str], count: int) -> list[Shown]:
    from dobby_dagster.store.ledger.report_pages import Extent

    found: list[dict[str, Any]] = []
    for run in reversed(runs):
        if len(found) == count:
            break
        pages = store.report_pages.records(Extent(relation, recipe, run=RunId(run)))
        completed = (row for page in pages for row in page if row["state"] == State.COMPLETED and row["fingerprint"])
        found += heapq.nsmallest(count - len(found), completed, key=lambda row: (-row["since"], row["key"]))
    texts = store.report_pages.texts(relation, {row["key"]: row["fingerprint"] for row in found})
    return [
        (row["key"], texts[row["key"]], shown_confidence(row["confidence"])) for row in found if row["key"] in texts
    ]


def _of_all(store: CozoStore, relation: str, recipe: RecipeId, count: int) -> list[Shown]:
    """Spread evenly over all keys."""
    from dobby_dagster.pipeline.planning.record_selection import evenly_spaced

    places = set(evenly_spaced(store.reports.status(relation, recipe)["completed"], count))
    if not places:
        return []
    completed = (entry for entry in store.reports.entries(relation, recipe) if entry["summary"])
    chosen = (entry for place, entry in enumerate(completed) if place in places)
    return [
        (entry["key"], entry["summary"], shown_confidence(entry["confidence"])) for entry in islice(chosen, len(places))
    ]


def next_commands(opened: Opened, key: str | None) -> list[str]:
    """Lines that say where the results are stored, and which commands to try."""
    return [
        "",
        f"Everything is stored in {mask_credentials(opened.settings.database.url)}. Next, try:",
        *([f"  {opened.command('show', key)}"] if key is not None else []),
        f"  {opened.command('search', 'read', 'a', 'file')}",
        f"  {opened.command('site', 'public')}",
        f"  {opened.command('dev')}",
    ]
