"""What ``dobby summarize`` prints at the end: some of the summaries, and commands to run next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from dobby_dagster.domain.addresses import mask_credentials
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.domain.states import State
from dobby_dagster.pipeline.planning.record_selection import evenly_spaced
from dobby_dagster.store.ledger.report_pages import Extent

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.domain.scope import RecipeId
    from dobby_dagster.store.cozo_store import CozoStore

# Key, text, confidence.
Shown = tuple[str, str, str]
# Key, fingerprint of the summary, confidence.
_Made = tuple[str, str, float | None]


def sample(
    store: CozoStore, relation: str, recipe: RecipeId, runs: Sequence[str], count: int
) -> tuple[str, list[Shown]]:
    """At most ``count`` summaries of this command's ``runs``, or of all if these made none; evenly spaced by key.

    Args:
        store: Where they are.
        relation: The source.
        recipe: Under which they were made.
        runs: The command's runs.
        count: How many to show.

    Returns:
        A title; and key, text and confidence of each, as they are shown.
    """
    if not count:
        return "", []
    made = _made(store, relation, recipe, runs)
    if not made:
        rows = _of_all(store, relation, recipe, count)
        return f"A sample of {counted(len(rows), 'summary')} of earlier runs", rows
    chosen = [made[place] for place in evenly_spaced(len(made), count)]
    texts = store.report_pages.texts(relation, {key: fingerprint for key, fingerprint, _ in chosen})
    rows = [(key, texts[key], shown_confidence(sure)) for key, _, sure in chosen if key in texts]
    few = len(made) <= count
    return "Summaries of this run" if few else f"A sample of {counted(len(rows), 'summary')} of this run", rows


def _made(store: CozoStore, relation: str, recipe: RecipeId, runs: Sequence[str]) -> list[_Made]:
    """What ``runs`` made, in the order of the keys."""
    found: dict[str, _Made] = {}
    for run in runs:
        for page in store.report_pages.records(Extent(relation, recipe, run=RunId(run))):
            for row in page:
                if row["state"] == State.COMPLETED and row["fingerprint"]:
                    found[row["key"]] = (row["key"], row["fingerprint"], row["confidence"])
    return [found[key] for key in sorted(found)]


def _of_all(store: CozoStore, relation: str, recipe: RecipeId, count: int) -> list[Shown]:
    places = set(evenly_spaced(store.reports.status(relation, recipe)["completed"], count))
    if not places:
        return []
    completed = (entry for entry in store.reports.entries(relation, recipe) if entry["summary"])
    chosen = (entry for place, entry in enumerate(completed) if place in places)
    return [
        (entry["key"], entry["summary"], shown_confidence(entry["confidence"])) for entry in islice(chosen, len(places))
    ]


def next_commands(opened: Opened, key: str | None, records: int) -> list[str]:
    """Lines that say where the results are stored, and which commands to try.

    Args:
        opened: The open database.
        key: A record with a summary, if there is one.
        records: How many records there are.
    """
    if not records:
        if opened.relation != OWN_RELATION:
            return [f"The relation '{opened.relation}' has no rows."]
        return ["To store the functions and documents of a source tree:", f"  {opened.command('ingest', 'PATH')}"]
    return [
        "",
        f"Everything is stored in {mask_credentials(opened.settings.database.url)}. Next, try:",
        *([f"  {opened.command('show', key)}"] if key is not None else []),
        f"  {opened.command('search', 'read', 'a', 'file')}",
        f"  {opened.command('site', 'public')}",
        f"  {opened.command('dev')}",
    ]
