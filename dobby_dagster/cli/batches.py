"""Commands about batches and models: backfill, preview, purge."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options as opt
from dobby_dagster.cli.output import counted, note, out, print_json, print_table
from dobby_dagster.domain.errors import SettingsError

if TYPE_CHECKING:
    from dobby_dagster.defs.run_here import Report
    from dobby_dagster.domain.settings import Settings
    from dobby_dagster.store.store import CozoStore


def backfill(
    first: Annotated[str | None, typer.Argument(help="A batch, as batch-000042.", metavar="[FIRST]")] = None,
    last: Annotated[str | None, typer.Argument(help="And all up to this one.", metavar="[LAST]")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Batches that were begun and are not settled.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Batches that lack anything from the present model and prompt.")
    ] = False,
    submit: Annotated[
        bool, typer.Option("--submit", help="Hand it to the daemon of dobby dev, and don't wait.")
    ] = False,
    database: opt.Database = None,
    relation: opt.Relation = None,
    model: opt.Model = None,
    device: opt.Device = None,
    prompt: opt.PromptId = None,
    max_new_tokens: opt.MaxNewTokens = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
) -> None:
    """Run batches again; only what is missing is inferred. Nothing new is looked for."""
    if (first is not None) + failed + everything != 1:
        raise SettingsError("what to backfill is not clear", hint="give one of: a batch or a range, --failed, --all")
    settings = opt.settings_from(
        config, database__url=database, source__relation=relation, model__path=model, model__device=device,
        prompt__id=prompt, inference__max_new_tokens=max_new_tokens,
    )  # fmt: skip
    choose = partial(_chosen, settings, first, last, failed)
    if submit:
        _submit(settings, choose, as_json)
        return
    from dobby_dagster.cli.summarize import end, run_with_bars
    from dobby_dagster.defs import run_here

    began = time.perf_counter()
    report, counts = run_with_bars(partial(run_here.backfill, settings, choose))
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
    settings: Settings, first: str | None, last: str | None, failed: bool, store: CozoStore, left: dict[str, int]
) -> list[str]:
    if first is not None:
        there = [batch.id for batch in store.versions.batches(settings.source.relation)]
        for named in (first, last or first):
            if named not in there:
                raise SettingsError(
                    f"there is no batch '{named}' of '{settings.source.relation}'",
                    hint=f"there are {there[0]} to {there[-1]}" if there else "nothing was planned yet",
                )
        if last is not None and last < first:
            raise SettingsError(f"{first} to {last} is no range", hint=f"did you mean: dobby backfill {last} {first}?")
        return [batch for batch in there if first <= batch <= (last or first)]
    if not failed:
        return list(left)
    from dobby_dagster.defs.automation.retries import left_undone

    return [candidate.batch for candidate in left_undone(settings, store)]


def _submit(settings: Settings, choose: partial[list[str]], as_json: bool) -> None:
    from dobby_dagster.cli.serving import Served
    from dobby_dagster.defs.home import dagster_home, opened_instance
    from dobby_dagster.defs.partitions import add_partitions
    from dobby_dagster.defs.runs import submit_backfill
    from dobby_dagster.domain.owner import is_alive
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.store.store import CozoStore

    recipe = recipe_for(settings).id
    store = CozoStore.open(settings.database, create=False)
    left = store.work.unsettled(settings.source.relation, recipe, settings.pipeline.max_retries)
    chosen = choose(store, left)
    served = Served.read(dagster_home(settings))
    if not served.supervisor or not is_alive(served.supervisor, time.time()):
        note("no dobby dev serves this DAGSTER_HOME: the backfill begins when one does")
    identifier = ""
    if chosen:
        with opened_instance(settings) as instance:
            add_partitions(instance, store)
            title = f"Backfill {chosen[0]} to {chosen[-1]}"
            identifier = submit_backfill(instance, chosen, title, "dobby backfill")
    if as_json:
        print_json({"backfill": identifier, "batches": chosen})
    elif chosen:
        out.print(f"Backfill {identifier} of {len(chosen)} batches: {served.url}/runs/b/{identifier}", highlight=False)
    else:
        out.print("Nothing to backfill.")


def preview(
    database: opt.Database = None,
    relation: opt.Relation = None,
    key: opt.Key = None,
    content: opt.ContentColumn = None,
    model: opt.Model = None,
    prompt: opt.PromptId = None,
    prompt_file: opt.PromptFile = None,
    max_new_tokens: opt.MaxNewTokens = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
) -> None:
    """Show what a run with this model and prompt would touch: records, tokens, time. Nothing is changed."""
    from dobby_dagster.inference.prompts import chosen_prompt
    from dobby_dagster.inference.recipe import recipe_of
    from dobby_dagster.pipeline.preview import preview as look
    from dobby_dagster.store.store import CozoStore

    settings = opt.settings_from(
        config, database__url=database, source__relation=relation, source__key=key, source__content=content,
        model__path=model, prompt__id=prompt, prompt__file=prompt_file,
        inference__max_new_tokens=max_new_tokens,
    )  # fmt: skip
    store = CozoStore.open(settings.database, create=False)
    chosen = chosen_prompt(settings.prompt)
    recipe = recipe_of(settings.model, settings.inference, chosen)
    found = look(store, store.source(settings.source), settings, recipe, chosen)
    if as_json:
        print_json({**found.__dict__, "batches": len(found.batches)})
        return
    at_most = "at most " if found.output_is_limit else ""
    rows = [
        ("model, prompt", f"{found.model}, {found.prompt} (recipe {found.recipe})"),
        ("records to do", f"{found.records:,} in {len(found.batches):,} batches"),
        ("different contents", f"{found.contents:,}"),
        ("prompt tokens", "0" if found.prompt_tokens is None else f"about {found.prompt_tokens:,}"),
        ("output tokens", "0" if found.output_tokens is None else f"{at_most}{found.output_tokens:,}"),
        ("time", _duration(found.seconds) if found.records else "none"),
        ("new rows, in no batch yet", f"{found.waiting:,}"),
    ]
    print_table(["what", "how much"], rows)
    if found.others:
        print_table(
            ["recipe", "model", "prompt", "summaries"],
            [(r, m, p, f"{count:,}") for r, m, p, count in found.others],
            title="Kept of other models and prompts, until dobby purge RECIPE",
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
    database: opt.Database = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
) -> None:
    """Delete the summaries, states and metrics of former models and prompts for good."""
    from dobby_dagster.domain.suggest import suggestion
    from dobby_dagster.store.store import CozoStore

    settings = opt.settings_from(config, database__url=database)
    store = CozoStore.open(settings.database, create=False)
    known = [row["recipe"] for row in store.work.recipes()]
    if bool(recipes) == old:
        raise SettingsError("what to purge is not clear", hint="give recipes, or --old")
    chosen = known[1:] if old else list(recipes or [])
    for recipe in chosen:
        if recipe not in known:
            raise SettingsError(f"there is no recipe '{recipe}'", hint=suggestion(recipe, known))
    if chosen and not yes:
        typer.confirm(f"Delete all that was made under {', '.join(chosen)}?", abort=True, err=True)
    deleted = {recipe: store.upkeep.purge(recipe)["dobby_summary"] for recipe in chosen}
    if as_json:
        print_json(deleted)
        return
    for recipe, count in deleted.items():
        out.print(f"{recipe}: {count:,} summaries deleted.", highlight=False)
    if not deleted:
        out.print("Nothing to purge.")
