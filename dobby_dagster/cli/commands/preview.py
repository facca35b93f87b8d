"""``dobby preview``: what a run would do."""

from __future__ import annotations

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import print_json, print_table
from dobby_dagster.cli.recipe_labels import non_default_settings, settings_by_recipe
from dobby_dagster.domain.plurals import counted


@options.takes("database", *options.SOURCE, "model", "prompt", "prompt_file", "max_new_tokens")
def preview(given: options.Given, as_json: options.Json = False) -> None:
    """Show what a run with this model and prompt would process: records, tokens, time. Nothing is changed.

    Example: dobby preview --model dobby-code-11m
    """
    from dobby_dagster.inference.prompts import chosen_prompt
    from dobby_dagster.inference.recipe import recipe_of
    from dobby_dagster.pipeline.planning import run_preview

    use = opened(given)
    settings = use.settings
    chosen = chosen_prompt(settings.prompt)
    recipe = recipe_of(settings.model, settings.inference, chosen, settings.prompt.callees)
    found = run_preview.preview(use.store, use.source, settings, recipe, chosen)
    if as_json:
        print_json({**found.__dict__, "batches": len(found.batches)})
        return
    at_most = "at most " if found.output_is_limit else ""
    rows = [
        (
            "model, prompt",
            f"{found.model}, {found.prompt} (recipe {found.recipe}: {non_default_settings(recipe.settings)})",
        ),
        ("records to summarise", f"{found.records:,} in {counted(len(found.batches), 'batch')}"),
        ("new or changed rows, in no batch yet", f"{found.waiting:,}"),
        ("different contents", f"{found.contents:,}"),
        ("prompt tokens", "0" if found.prompt_tokens is None else f"about {found.prompt_tokens:,}"),
        ("output tokens", "0" if found.output_tokens is None else f"{at_most}{found.output_tokens:,}"),
        ("time", _duration(found.seconds) if found.contents else "none"),
    ]
    print_table(["what", "amount"], rows)
    if found.others:
        differences = settings_by_recipe(use.store.recipes.all())
        print_table(
            ["recipe", "model", "prompt", "settings", "summaries"],
            [(r, m, p, differences.get(r, ""), f"{count:,}") for r, m, p, count in found.others],
            title=f"Summaries kept from other models and prompts, until {use.command('purge')} RECIPE",
        )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown: this model has not run here yet"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7_200 else f"about {seconds / 3_600:.1f} h"
