"""``dobby summarize``: plan, run through Dagster in this process, and show the result."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.doubt_lines import doubt_lines, doubts_of
from dobby_dagster.cli.output import note, out, print_json, print_table
from dobby_dagster.cli.run_progress import Finished, run_with_bars
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.remembered import changes_in_use
from dobby_dagster.domain.scope import NO_RECIPE, RecipeId

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened


@options.takes(
    "database", *options.SOURCE, "language", "priority", "updated_at", "allow_triggers", "model", "device", "slots",
    "prompt", "prompt_file", "max_new_tokens", "batch_size", "reproducible",
)  # fmt: skip
def summarize(
    given: options.Given,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Export afterwards: .md, .jsonl, .csv or .parquet.")
    ] = None,
    force: options.Force = False,
    show: Annotated[int, typer.Option(min=0, help="Show this many of the summaries, those of this run first.")] = 5,
    as_json: options.Json = False,
) -> None:
    """Summarise every record that has no summary yet from this model and prompt."""
    from dobby_dagster.defs.runs.terminal_runs import plan_and_run
    from dobby_dagster.pipeline.reporting.export_columns import described
    from dobby_dagster.pipeline.reporting.export_formats import check_output, export_file

    if output is not None:
        check_output(output, force=force)
    use = opened(given)
    was_used, before = use.recipe() is not None, use.store.memory
    finished = run_with_bars(partial(plan_and_run, use.settings))
    recipe = use.recipe() or NO_RECIPE
    status = use.store.reports.status(use.relation, recipe)
    if output is not None and not finished.report.stopped:
        rows = described(use.store.reports.rows(use.source, recipe))
        note(f"{counted(export_file(rows, output, force=force), 'record')} written to {output}")
    if as_json:
        print_json({**status, **doubts_of(use, recipe).metrics(), **finished.metrics()})
    else:
        _show(use, recipe, finished, status, show)
        if was_used and (changes := changes_in_use(before, use.store.memory)):
            note(f"In use from now on: {', '.join(changes)}")
    finished.exit()


def _show(use: Opened, recipe: RecipeId, finished: Finished, status: dict[str, int], show: int) -> None:
    from dobby_dagster.cli.next_steps import next_commands, sample

    relation, store, report = use.relation, use.store, finished.report
    out.print(finished.headline(status), highlight=False)
    tracking = report.planned.get("change_tracking", "")
    print_table(["state", "records"], [(s, f"{status[s]:,}") for s in ("completed", "failed", "skipped", "pending")])
    out.print(f"Changes in '{relation}' were found by {tracking}.", highlight=False)
    title, rows = sample(store, relation, recipe, report.runs, show)
    if rows:
        print_table(["key", "summary", "confidence"], rows, title=title)
    failed = list(store.states.failed(relation, recipe))
    for line in doubt_lines(use, recipe):
        out.print(line, soft_wrap=True)
    if failed:
        print_table(["key", "why it failed"], [(row["key"], row["error"]) for row in failed[:10]], title="Failed")
    if report.stopped or report.failures:
        return
    for line in next_commands(use, rows[0][0] if rows else None, status["records"]):
        out.print(line, highlight=False, markup=False, soft_wrap=True)
