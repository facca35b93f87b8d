"""``dobby redo``: summarise the unsure and the failed records again, with another model or prompt."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import out, print_json
from dobby_dagster.cli.run_progress import run_with_bars
from dobby_dagster.domain.errors import SettingsError, SourceError


@options.takes(
    "below", "database", *options.SOURCE, "language", "model", "device", "prompt", "prompt_file", "max_new_tokens"
)
def redo(
    given: options.Given,
    recipe: Annotated[
        str | None, typer.Option(help="The recipe under which they are unsure or failed; by default the last used.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Summarise the unsure and the failed records again, with another model or prompt.

    The records go into a batch of their own. The earlier summaries stay, and their model and prompt stay in use.
    """
    from dobby_dagster.defs.runs import terminal_runs
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.pipeline.reporting.doubtful_summaries import batch_to_redo

    use = opened(given)
    settings, store = use.settings, use.store
    new = recipe_for(settings).id
    _ = use.source.types
    old, in_use = use.recipe(recipe), use.recipe()
    if old is None:
        raise SourceError(f"no record of '{use.relation}' has been summarised yet", hint="run dobby summarize")
    if old == new:
        raise SettingsError(
            "the same model and prompt would give the same summaries", hint="name another with --model or --prompt"
        )
    batch = batch_to_redo(store, use.relation, old, settings.pipeline.unsure_below, new)
    # The parts of a file or folder are not summarised here, so that nothing is to be derived from their summaries.
    without = settings.pipeline.model_copy(update={"outlines": False})
    as_they_are = settings.model_copy(update={"pipeline": without})
    backfill = partial(terminal_runs.backfill, as_they_are, lambda store, left: [batch], remember=False)
    try:
        finished = run_with_bars(backfill)
    finally:
        if in_use is not None and store.recipes.latest() == new:
            store.recipes.use(in_use)
    if as_json:
        print_json({**finished.metrics(), "batch": batch, "recipe": new, "former_recipe": old})
    else:
        out.print(finished.headline(store.reports.status(use.relation, new)), highlight=False)
        out.print(f"They are batch {batch} of recipe {new}; all others remain under recipe {old}:")
        for one in (new, old):
            out.print(f"  {use.command(f'export --recipe {one}')}", soft_wrap=True)
    finished.exit()
