"""``dobby status``: how many records there are, by state."""

from __future__ import annotations

from collections.abc import Sequence

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import Opened, opened
from dobby_dagster.cli.doubt_lines import doubt_lines, doubts_of
from dobby_dagster.cli.output import out, print_json, print_table
from dobby_dagster.cli.recipe_labels import settings_by_recipe
from dobby_dagster.domain.addresses import mask_credentials
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.states import State
from dobby_dagster.pipeline.planning.differences import edited

MEANINGS = {
    "rows": "rows in the source",
    "unplanned": "new, not yet planned",
    "records": "records planned",
    "waiting": "of these in no batch yet",
}


@options.takes("database", "relation")
def status(
    given: options.Given,
    recipe: options.Recipe = None,
    as_json: options.Json = False,
) -> None:
    """Show the progress: rows of the source, records by state, batches, summaries."""
    use = opened(given)
    chosen = use.recipe(recipe)
    counts = _with_waiting(use.store.reports.overview(use.source, chosen), use.store.counts.waiting(use.relation))
    changed = edited(use.store, use.source)
    recipes = use.store.recipes.all()
    if as_json:
        print_json(
            {
                **counts,
                "changed": len(changed),
                **(doubts_of(use, chosen).metrics() if chosen else {}),
                "database": mask_credentials(use.settings.database.url),
                "relation": use.relation,
                "recipe": chosen,
            }
        )
        return
    print_table([use.relation, "count"], [(MEANINGS.get(name, name), f"{n:,}") for name, n in counts.items()])
    if recipes:
        settings = settings_by_recipe(recipes)
        rows = [
            ("*" if r["recipe"] == chosen else "", r["recipe"], r["model"], r["prompt"], settings[r["recipe"]])
            for r in recipes
        ]
        print_table(["", "recipe", "model", "prompt", "settings"], rows)
    for line in doubt_lines(use, chosen) if chosen else []:
        out.print(line, soft_wrap=True)
    if changed:
        out.print(f"{counted(len(changed), 'row')} changed since the last plan.")
    left = counts["unplanned"] + counts["pending"] + len(changed) - _pending(use, chosen, changed)
    if left:
        command = use.summarize_command(chosen)
        how = f"to summarise: {command}" if command else "to summarise with a model or settings that are not in use"
        out.print(f"{counted(left, 'record')} {how}", soft_wrap=True)
        used = use.recipe_in_use if chosen else None
        if used is not None and used.id != chosen:
            out.print(
                f"In use is {used.model} with the prompt {used.prompt}, recipe {used.id}: {use.command('summarize')}",
                soft_wrap=True,
            )


def _pending(use: Opened, recipe: RecipeId | None, changed: Sequence[RecordVersion]) -> int:
    """How many of the changed records are pending already, in the version that the last plan saw."""
    known = use.store.versions.known(use.source, [version.key for version in changed])
    planned = [(key, version.content_hash) for key, version in known.items()]
    entries = use.store.reports.describe(use.relation, recipe, planned) if planned else ()
    return sum(entry["state"] == State.PENDING for entry in entries)


def _with_waiting(counts: dict[str, int], waiting: int) -> dict[str, int]:
    """The counts, with those of the pending records that wait for a batch after them."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        found[name] = count
        if name == State.PENDING:
            found["waiting"] = waiting
    return found
