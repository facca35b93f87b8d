"""Commands about batches and models: backfill, preview, purge."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json, print_table
from dobby_dagster.cli.recipe_labels import described, settings_by_recipe
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import NO_RECIPE

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.defs.runs.terminal_runs import Report
    from dobby_dagster.domain.scope import BatchId
    from dobby_dagster.store.cozo_store import CozoStore


def backfill(
    first: Annotated[str | None, typer.Argument(help="A batch, as batch-000042.", metavar="[FIRST]")] = None,
    last: Annotated[str | None, typer.Argument(help="And all up to this one.", metavar="[LAST]")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Batches that were started but not finished.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Batches that lack anything from the present model and prompt.")
    ] = False,
    submit: Annotated[
        bool, typer.Option("--submit", help="Hand it to the daemon of dobby dev, and don't wait.")
    ] = False,
    database: options.Database = None,
    relation: options.Relation = None,
    key: options.Key = None,
    content: options.ContentColumn = None,
    model: options.Model = None,
    device: options.Device = None,
    prompt: options.PromptId = None,
    max_new_tokens: options.MaxNewTokens = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Run batches again; only what is missing is inferred. Nothing new is looked for.

    Example: dobby backfill batch-000003 batch-000007
    """
    if (first is not None) + failed + everything != 1:
        raise SettingsError("what to backfill is not clear", hint="give one of: a batch or a range, --failed, --all")
    use = opened(
        config, database__url=database, source__relation=relation, source__key=key, source__content=content,
        model__path=model, model__device=device, prompt__id=prompt,
        inference__max_new_tokens=max_new_tokens,
    )  # fmt: skip
    choose = partial(_chosen, use, first, last, failed)
    if submit:
        _submit(use, choose, as_json)
        return
    from dobby_dagster.cli.commands.summarize_command import end, run_with_bars
    from dobby_dagster.defs.runs import terminal_runs

    began = time.perf_counter()
    report, counts = run_with_bars(partial(terminal_runs.backfill, use.settings, choose))
    seconds = time.perf_counter() - began
    if as_json:
        print_json(
            {**counts, "batches": list(report.todo), "runs": report.runs, "failures": report.failures,
             "stopped": report.stopped, "seconds": seconds}
        )  # fmt: skip
    else:
        out.print(_headline(report, counts, seconds, failed), highlight=False)
    end(report)


def _headline(report: Report, counts: dict[str, int], seconds: float, failed: bool) -> str:
    if not report.todo:
        why = "no batch was started and left unfinished" if failed else "every batch is settled"
        return f"Nothing to backfill: {why}."
    told = f"{counted(report.done, 'record')} settled, {counts['inferred']:,} of them inferred"
    batches = counted(len(report.todo), "batch")
    if not sum(report.todo.values()):
        return f"{batches}: nothing was left to do."
    return f"{'Stopped: ' if report.stopped else ''}{batches}, {told}, in {seconds:.1f} s."


def _chosen(
    use: Opened, first: str | None, last: str | None, failed: bool, store: CozoStore, left: dict[BatchId, int]
) -> list[BatchId]:
    if first is not None:
        there = use.batches(first, last)
        if last is not None and last < first:
            raise SettingsError(
                f"{first} to {last} is no range", hint=f"did you mean: {use.command('backfill', last, first)}"
            )
        return [batch for batch in there if first <= batch <= (last or first)]
    if not failed:
        return list(left)
    from dobby_dagster.defs.automation.retry_schedule import left_undone

    return [candidate.batch for candidate in left_undone(use.settings, store)]


def _submit(use: Opened, choose: partial[list[BatchId]], as_json: bool) -> None:
    from dobby_dagster.cli.server.dev_services import Served
    from dobby_dagster.defs.partitions import add_partitions
    from dobby_dagster.defs.runs.batch_runs import submit_backfill
    from dobby_dagster.defs.runs.dagster_home import dagster_home, opened_instance
    from dobby_dagster.domain.owner import is_alive
    from dobby_dagster.inference.recipe import recipe_for

    settings, store = use.settings, use.store
    recipe = recipe_for(settings).id
    _ = use.source.types
    chosen = choose(store, store.states.runnable_by_batch(use.relation, recipe, settings.pipeline.max_retries))
    if not chosen:
        print_json({"backfill": "", "batches": []}) if as_json else out.print("Nothing to backfill.")
        return
    served = Served.read(dagster_home(settings))
    alive = bool(served.supervisor) and is_alive(served.supervisor, time.time())
    with opened_instance(settings) as instance:
        add_partitions(instance, store)
        title = f"Backfill {chosen[0]} to {chosen[-1]}"
        identifier = submit_backfill(instance, chosen, title, "dobby backfill")
    if not alive:
        note(f"no dobby dev serves this DAGSTER_HOME: the backfill begins when one does: {use.command('dev')}")
    if as_json:
        print_json({"backfill": identifier, "batches": chosen})
        return
    where = f": {served.url}/runs/b/{identifier}" if alive else ""
    out.print(f"Backfill {identifier} of {counted(len(chosen), 'batch')}{where}")


def preview(
    database: options.Database = None,
    relation: options.Relation = None,
    key: options.Key = None,
    content: options.ContentColumn = None,
    model: options.Model = None,
    prompt: options.PromptId = None,
    prompt_file: options.PromptFile = None,
    max_new_tokens: options.MaxNewTokens = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Show what a run with this model and prompt would touch: records, tokens, time. Nothing is changed.

    Example: dobby preview --model models/dobby-code-11m
    """
    from dobby_dagster.inference.prompts import chosen_prompt
    from dobby_dagster.inference.recipe import recipe_of
    from dobby_dagster.pipeline.planning.run_preview import preview as look

    use = opened(
        config, database__url=database, source__relation=relation, source__key=key, source__content=content,
        model__path=model, prompt__id=prompt, prompt__file=prompt_file,
        inference__max_new_tokens=max_new_tokens,
    )  # fmt: skip
    settings = use.settings
    chosen = chosen_prompt(settings.prompt)
    recipe = recipe_of(settings.model, settings.inference, chosen)
    found = look(use.store, use.source, settings, recipe, chosen)
    if as_json:
        print_json({**found.__dict__, "batches": len(found.batches)})
        return
    at_most = "at most " if found.output_is_limit else ""
    rows = [
        ("model, prompt", f"{found.model}, {found.prompt} (recipe {found.recipe}: {described(recipe.settings)})"),
        ("records to do", f"{found.records:,} in {counted(len(found.batches), 'batch')}"),
        ("new rows, in no batch yet", f"{found.waiting:,}"),
        ("different contents", f"{found.contents:,}"),
        ("prompt tokens", "0" if found.prompt_tokens is None else f"about {found.prompt_tokens:,}"),
        ("output tokens", "0" if found.output_tokens is None else f"{at_most}{found.output_tokens:,}"),
        ("time", _duration(found.seconds) if found.contents else "none"),
    ]
    print_table(["what", "how much"], rows)
    if found.others:
        differences = settings_by_recipe(use.store.recipes.all())
        print_table(
            ["recipe", "model", "prompt", "settings", "summaries"],
            [(r, m, p, differences.get(r, ""), f"{count:,}") for r, m, p, count in found.others],
            title=f"Kept of other models and prompts, until {use.command('purge')} RECIPE",
        )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known: this model has not run here yet"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7_200 else f"about {seconds / 3_600:.1f} h"


def purge(
    recipes: Annotated[list[str] | None, typer.Argument(help="Recipes, by identifier; see dobby status.")] = None,
    old: Annotated[bool, typer.Option("--old", help="All but the last used.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    database: options.Database = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Delete the summaries, states and metrics of former models and prompts for good.

    Example: dobby purge --old
    """
    if bool(recipes) == old:
        raise SettingsError("what to purge is not clear", hint="give recipes, or --old")
    use = opened(config, database__url=database)
    known = {row["recipe"]: row for row in use.store.recipes.all()}
    chosen = list(known)[1:] if old else [use.recipe(recipe) or NO_RECIPE for recipe in recipes or []]
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
        typer.confirm(f"Delete {total} and all else of {counted(len(chosen), 'recipe')}?", abort=True, err=True)
    deleted = {recipe: use.store.upkeep.purge(recipe)["dobby_summary"] for recipe in chosen}
    if as_json:
        print_json(deleted)
        return
    for recipe, count in deleted.items():
        out.print(f"{recipe}: {counted(count, 'summary')} deleted.")
    if not deleted:
        out.print("Nothing to purge.")
