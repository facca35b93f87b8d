"""What a person sees at the end, and can do next."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

from dobby_dagster.domain.printable import shell_word

if TYPE_CHECKING:
    from dobby_dagster.domain.settings import Settings
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


def next_commands(settings: Settings, key: str | None) -> list[str]:
    """Where things are stored, and three commands to try."""
    program = sys.argv[0] if "/" in sys.argv[0] and not sys.argv[0].startswith("/") else "dobby"
    where = f" --database {settings.database.url}"
    relation = f" --relation {settings.source.relation}" if settings.source.relation != "record" else ""
    shown = shell_word(key) if key else "KEY"
    return [
        "",
        f"Everything is stored in {settings.database.url}. Next, try:",
        f"  {program} show {shown}{where}{relation}",
        f"  {program} export --format markdown{where}{relation} > summaries.md",
        f"  {program} dev{where}{relation}",
    ]
