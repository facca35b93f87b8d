"""What a person sees at the end, and can do next."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from dobby_dagster.domain.addresses import mask_credentials

if TYPE_CHECKING:
    from dobby_dagster.cli.opened import Opened
    from dobby_dagster.store.store import CozoStore


def sample(store: CozoStore, relation: str, recipe: str, count: int) -> list[tuple[str, str, str]]:
    """``count`` summaries spread evenly over all keys, none picked: key, text, confidence."""
    from dobby_dagster.pipeline.export import shown_confidence

    total = store.reports.status(relation, recipe)["completed"]
    if not total or not count:
        return []
    step = max(1, total // count)
    completed = (entry for entry in store.reports.entries(relation, recipe) if entry["summary"])
    spread = islice(completed, 0, None, step)
    return [(entry["key"], entry["summary"], shown_confidence(entry)) for entry in islice(spread, count)]


def next_commands(opened: Opened, key: str | None) -> list[str]:
    """Where things are stored, and three commands to try."""
    return [
        "",
        f"Everything is stored in {mask_credentials(opened.settings.database.url)}. Next, try:",
        *([f"  {opened.command('show', key)}"] if key is not None else []),
        f"  {opened.command('export --output summaries.md')}",
        f"  {opened.command('dev')}",
    ]
