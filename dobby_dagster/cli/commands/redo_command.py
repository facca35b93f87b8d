"""What to know of the summaries after a run, and ``dobby redo``: the unsure ones again, by another model."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import out, print_json
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import NO_RECIPE, RecipeId

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.pipeline.reporting.doubtful_summaries import Doubts


def look(use: Opened, recipe: RecipeId) -> Doubts:
    """The doubts about all current summaries under ``recipe``."""
    from dobby_dagster.pipeline.reporting.doubtful_summaries import doubts

    return doubts(use.store, use.relation, recipe, use.settings.pipeline.unsure_below)


def lines(use: Opened, found: Doubts) -> list[str]:
    """A line on unsure summaries, and one on each other doubt that there is."""
    from dobby_dagster.inference.models.model_folder import another_model

    if not found.summaries:
        return []
    of = f"of {counted(found.summaries, 'summary')}"
    told = [f"Unsure, of a confidence below {use.settings.pipeline.unsure_below:g}: {found.unsure:,} {of}."]
    if found.unsure:
        told[0] += " Another model makes only those again:"
        told.append(f"  {use.command(f'redo --model {another_model(use.settings.model.path)}')}")
    if found.unknown:
        told.append(
            f"Of unknown confidence: {found.unknown:,} {of}, of contents of a kind that the model's confidence was not"
            " measured on, or of a model server that gives no probabilities."
        )
    if found.cut_off:
        told.append(f"Cut off in the middle: {found.cut_off:,} {of}; --max-new-tokens N lets them be longer.")
    if found.truncated:
        told.append(f"Too long to be read whole: the contents of {found.truncated:,} {of}; their middle was left out.")
    return told


def redo(
    database: options.Database = None,
    relation: options.Relation = None,
    key: options.Key = None,
    content: options.ContentColumn = None,
    language: options.Language = None,
    model: options.Model = None,
    device: options.Device = None,
    prompt: options.PromptId = None,
    prompt_file: options.PromptFile = None,
    max_new_tokens: options.MaxNewTokens = None,
    below: Annotated[
        float | None, typer.Option(min=0, max=1, help="Summaries of a lower confidence; by default the unsure ones.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Whose summaries are looked at; by default the last used model and prompt.")
    ] = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Summarise again, by another model or prompt, only what the last one was unsure of.

    The records go into a batch of their own. The earlier summaries stay.
    """
    from dobby_dagster.cli.commands.summarize_command import end, headline, run_with_bars
    from dobby_dagster.defs.runs import terminal_runs
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.pipeline.reporting.doubtful_summaries import batch_of_unsure

    use = opened(
        config, database__url=database, source__relation=relation, source__key=key, source__content=content,
        source__language=language, model__path=model, model__device=device, prompt__id=prompt,
        prompt__file=prompt_file, inference__max_new_tokens=max_new_tokens, pipeline__unsure_below=below,
    )  # fmt: skip
    settings, store = use.settings, use.store
    new = recipe_for(settings).id
    _ = use.source.types
    old = use.recipe(recipe) or NO_RECIPE
    if old == new:
        raise SettingsError(
            "the same model and prompt would write the same again", hint="name another with --model or --prompt"
        )
    batch = batch_of_unsure(store, settings.source.relation, old, settings.pipeline.unsure_below)
    began = time.perf_counter()
    report, counts = run_with_bars(
        partial(terminal_runs.backfill, settings, lambda store, left: [batch], remember=False)
    )
    seconds = time.perf_counter() - began
    if as_json:
        print_json(
            {**counts, "batch": batch, "recipe": new, "former_recipe": old, "runs": report.runs,
             "failures": report.failures, "stopped": report.stopped, "seconds": seconds}
        )  # fmt: skip
    else:
        status = store.reports.status(settings.source.relation, new)
        out.print(headline(report, counts, status, seconds), highlight=False)
        out.print(f"They are the batch {batch}, of recipe {new}; the others are still under recipe {old}:")
        for one in (new, old):
            out.print(f"  {use.command(f'export --recipe {one}')}", soft_wrap=True)
    end(report)
