"""``dobby purge``: delete the results of former models and prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.cli.recipe_labels import settings_by_recipe
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.plurals import counted


@options.takes("database")
def purge(
    given: options.Given,
    recipes: Annotated[list[str] | None, typer.Argument(help="Recipes, by identifier; see dobby status.")] = None,
    old: Annotated[bool, typer.Option("--old", help="All recipes except the last used.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Permanently delete the summaries, states and metrics of former models and prompts.

    Example: dobby purge --old
    """
    if bool(recipes) == old:
        raise SettingsError("which recipes to purge is ambiguous", hint="give recipes, or --old")
    use = opened(given)
    known = {row["recipe"]: row for row in use.store.recipes.all()}
    chosen = list(known)[1:] if old else [use.identified(recipe) for recipe in recipes or []]
    if chosen and not yes:
        counts = use.store.upkeep.summaries_by_recipe()
        differences = settings_by_recipe(list(known.values()))
        for recipe in chosen:
            row = known[recipe]
            note(
                f"{recipe}: {counted(counts.get(recipe, 0), 'summary')} by {row['model']}, {row['prompt']}"
                f" ({differences[recipe]})"
            )
        total = counted(sum(counts.get(recipe, 0) for recipe in chosen), "summary")
        typer.confirm(
            f"Delete {total} and all other results of {counted(len(chosen), 'recipe')}?", abort=True, err=True
        )
    deleted = {recipe: use.store.upkeep.purge(recipe)["dobby_summary"] for recipe in chosen}
    if as_json:
        print_json(deleted)
        return
    for recipe, count in deleted.items():
        out.print(f"{recipe}: {counted(count, 'summary')} deleted.")
    if not deleted:
        out.print("Nothing to purge.")
