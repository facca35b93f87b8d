"""``dobby backfill``: run batches again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.cli.run_progress import Finished, run_with_bars
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.plurals import counted

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.domain.scope import BatchId
    from dobby_dagster.store.cozo_store import CozoStore


@options.takes("database", *options.SOURCE, "model", "device", "prompt", "max_new_tokens")
def backfill(
    given: options.Given,
    first: Annotated[str | None, typer.Argument(help="A batch, as batch-000042.", metavar="FIRST")] = None,
    last: Annotated[str | None, typer.Argument(help="The last batch of a range.", metavar="LAST")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Batches that were started but not finished.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Batches with records not yet summarised by the model and prompt in use.")
    ] = False,
    submit: Annotated[
        bool, typer.Option("--submit", help="Queue the runs for the daemon of dobby dev, and don't wait.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Run batches again; only what is missing is inferred. The source is not polled.

    Example: dobby backfill batch-000003 batch-000007
    """
    if (first is not None) + failed + everything != 1:
        raise SettingsError(
            "which batches to backfill is ambiguous", hint="give one of: a batch or a range, --failed, --all"
        )
    use = opened(given)
    choose = partial(_chosen, use, first, last, failed)
    if submit:
        _submit(use, choose, as_json)
        return
    from dobby_dagster.defs.runs import terminal_runs

    finished = run_with_bars(partial(terminal_runs.backfill, use.settings, choose))
    if as_json:
        print_json({**finished.metrics(), "batches": list(finished.report.todo)})
    else:
        out.print(_headline(finished, failed), highlight=False)
    finished.exit()


def _headline(finished: Finished, failed: bool) -> str:
    report = finished.report
    if not report.todo:
        why = "no batch was started and left unfinished" if failed else "every batch is settled"
        return f"Nothing to backfill: {why}."
    done = f"{counted(report.done, 'record')} settled, {finished.inferred:,} of them inferred"
    batches = counted(len(report.todo), "batch")
    if not sum(report.todo.values()):
        return f"{batches}: nothing was missing."
    return f"{'Stopped: ' if report.stopped else ''}{batches}, {done}, in {finished.seconds:.1f} s."


def _chosen(
    use: Opened, first: str | None, last: str | None, failed: bool, store: CozoStore, left: dict[BatchId, int]
) -> list[BatchId]:
    if first is not None:
        there = use.batches(first, last)
        if last is not None and last < first:
            raise SettingsError(
                f"{first} to {last} is not a range", hint=f"did you mean: {use.command('backfill', last, first)}"
            )
        return [batch for batch in there if first <= batch <= (last or first)]
    if not failed:
        return list(left)
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.pipeline.planning.retry_policy import retry_candidates

    recipe = recipe_for(use.settings).id
    return [candidate.batch for candidate in retry_candidates(store, use.settings, recipe)]


def _submit(use: Opened, choose: partial[list[BatchId]], as_json: bool) -> None:
    from dobby_dagster.cli.server.served_home import ServedHome
    from dobby_dagster.defs.partitions import add_partitions
    from dobby_dagster.defs.runs.batch_runs import submit_backfill
    from dobby_dagster.defs.runs.dagster_home import dagster_home, opened_instance
    from dobby_dagster.inference.recipe import recipe_for

    settings, store = use.settings, use.store
    recipe = recipe_for(settings).id
    _ = use.source.types
    chosen = choose(store, store.states.unfinished(use.relation, recipe, settings.pipeline.max_retries))
    if not chosen:
        print_json({"backfill": "", "batches": []}) if as_json else out.print("Nothing to backfill.")
        return
    served = ServedHome.read(dagster_home(settings))
    with opened_instance(settings) as instance:
        add_partitions(instance, store)
        title = f"Backfill {chosen[0]} to {chosen[-1]}"
        identifier = submit_backfill(instance, chosen, title, "dobby backfill")
    if not served.is_running:
        note(f"no dobby dev serves this DAGSTER_HOME; the backfill starts when one does: {use.command('dev')}")
    if as_json:
        print_json({"backfill": identifier, "batches": chosen})
        return
    where = f": {served.url}/runs/b/{identifier}" if served.is_running else ""
    out.print(f"Backfill {identifier} of {counted(len(chosen), 'batch')}{where}")
