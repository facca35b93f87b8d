"""What ``dobby summarize`` prints at the end: a sample of the summaries, and commands to run next."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from dobby_dagster.domain.addresses import mask_credentials

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.domain.scope import RecipeId
    from dobby_dagster.store.cozo_store import CozoStore


def sample(store: CozoStore, relation: str, recipe: RecipeId, count: int) -> list[tuple[str, str, str]]:
    """``(key, text, confidence)`` of at most ``count`` summaries, spread evenly over all keys."""
    from dobby_dagster.pipeline.planning.record_selection import evenly_spaced
    from dobby_dagster.pipeline.reporting.export_formats import shown_confidence

    places = set(evenly_spaced(store.reports.status(relation, recipe)["completed"], count))
    if not places:
        return []
    completed = (entry for entry in store.reports.entries(relation, recipe) if entry["summary"])
    chosen = (entry for place, entry in enumerate(completed) if place in places)
    return [(entry["key"], entry["summary"], shown_confidence(entry)) for entry in islice(chosen, len(places))]


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
