"""``dobby summarize``: plan, run through Dagster in this process, and show."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.app import STOPPED
from dobby_dagster.cli.commands.redo_command import lines, look
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.exit_status import FAILED
from dobby_dagster.cli.output import fail, note, out, print_json, print_table
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import NO_RECIPE, RecipeId

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.defs.runs.terminal_runs import Report


def summarize(
    database: options.Database = None,
    relation: options.Relation = None,
    key: options.Key = None,
    content: options.ContentColumn = None,
    language: options.Language = None,
    priority: options.Priority = None,
    updated_at: options.UpdatedAt = None,
    allow_triggers: options.AllowTriggers = None,
    model: options.Model = None,
    device: options.Device = None,
    slots: options.Slots = None,
    prompt: options.PromptId = None,
    prompt_file: options.PromptFile = None,
    max_new_tokens: options.MaxNewTokens = None,
    batch_size: options.BatchSize = None,
    reproducible: options.Reproducible = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Export afterwards: .md, .jsonl, .csv or .parquet.")
    ] = None,
    force: options.Force = False,
    show: Annotated[int, typer.Option(min=0, help="Show so many of the summaries.")] = 5,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Summarise every record that has no summary yet from this model and prompt."""
    from dobby_dagster.defs.runs.terminal_runs import plan_and_run
    from dobby_dagster.pipeline.reporting.export import check_output, described, export_file

    if output is not None:
        check_output(output, force=force)
    use = opened(
        config,
        database__url=database,
        source__relation=relation,
        source__key=key,
        source__content=content,
        source__language=language,
        source__priority=priority,
        source__updated_at=updated_at,
        source__allow_triggers=allow_triggers,
        model__path=model,
        model__device=device,
        inference__slots=slots,
        inference__reproducible=reproducible,
        inference__max_new_tokens=max_new_tokens,
        prompt__id=prompt,
        prompt__file=prompt_file,
        pipeline__batch_size=batch_size,
    )
    began = time.perf_counter()
    report, counts = run_with_bars(partial(plan_and_run, use.settings))
    seconds = time.perf_counter() - began
    recipe = use.recipe() or NO_RECIPE
    status = use.store.reports.status(use.relation, recipe)
    if output is not None and not report.stopped:
        rows = described(use.store.reports.rows(use.source, recipe))
        note(f"{counted(export_file(rows, output, force=force), 'record')} written to {output}")
    if as_json:
        print_json(
            {**status, **counts, **look(use, recipe).metrics(), "seconds": seconds, "runs": report.runs,
             "failures": report.failures, "stopped": report.stopped}
        )  # fmt: skip
    else:
        _show(use, recipe, report, status, counts, seconds, show)
    end(report)


def run_with_bars(
    start: Callable[[Callable[[Report], None]], Report],
) -> tuple[Report, dict[str, int]]:
    """Run ``start``, which calls what it is given when it knows what is to do, with bars; what was done by the end."""
    from dobby_dagster.pipeline.progress import Stage, listening

    counts = {"settled": 0, "inferred": 0}
    with ExitStack() as bars:
        steps = {"planning": bars.enter_context(progress("Looking for changes", None))}

        def on_plan(report: Report) -> None:
            bars.pop_all().close()
            if report.device_used_by:
                note(f"waiting for the device: run {', '.join(r[:8] for r in report.device_used_by)} uses it")
            todo = sum(report.todo.values())
            if todo:
                steps["inferring"] = bars.enter_context(progress("Summarising", todo))

        def on_progress(stage: Stage, records: int, inferred: int) -> None:
            if stage == "summarizing":
                counts["settled"] += records
                counts["inferred"] += inferred
            elif stage in steps:
                steps[stage](records)

        with listening(on_progress):
            report = start(on_plan)
    return report, counts


def headline(report: Report, counts: dict[str, int], status: dict[str, int], seconds: float) -> str:
    """What the runs did, in one line that is true also where they failed or were stopped."""
    done = f"{report.done:,} of {sum(report.todo.values()):,} done"
    if report.stopped:
        return f"Stopped: {done}. What was committed is kept; the same command goes on from there."
    if report.failures and not counts["inferred"]:
        return f"Failed: {done}."
    if counts["inferred"]:
        rate = counts["inferred"] / seconds * 60
        return (
            f"Inferred {counted(counts['inferred'], 'summary')} in {seconds:.1f} s, start and commit included: "
            f"{rate:,.0f} a minute."
        )
    if status["pending"] + status["in_progress"]:
        return f"Nothing was inferred: {done}."
    return f"Nothing to infer: all {counted(status['records'], 'record')} are settled."


def end(report: Report) -> None:
    """Tell of each run that failed, and exit with a status that is not 0 where one did or the user stopped it."""
    for failure in report.failures:
        fail(failure)
    if report.stopped:
        raise typer.Exit(STOPPED)
    if report.failures:
        raise typer.Exit(FAILED)


def _show(
    use: Opened,
    recipe: RecipeId,
    report: Report,
    status: dict[str, int],
    counts: dict[str, int],
    seconds: float,
    show: int,
) -> None:
    from dobby_dagster.cli.next_steps import next_commands, sample

    relation, store = use.relation, use.store
    out.print(headline(report, counts, status, seconds), highlight=False)
    tracking = report.planned.get("change_tracking", "")
    print_table(["state", "records"], [(s, f"{status[s]:,}") for s in ("completed", "failed", "skipped", "pending")])
    out.print(f"Changes in '{relation}' were found by {tracking}.", highlight=False)
    rows = sample(store, relation, recipe, show)
    if rows:
        print_table(["key", "summary", "confidence"], rows, title=f"{len(rows)} of the summaries")
    failed = list(store.states.failed(relation, recipe))
    for line in lines(use, look(use, recipe)):
        out.print(line, soft_wrap=True)
    if failed:
        print_table(["key", "why it failed"], [(row["key"], row["error"]) for row in failed[:10]], title="Failed")
    if report.stopped or report.failures:
        return
    for line in next_commands(use, rows[0][0] if rows else None):
        out.print(line, highlight=False, markup=False, soft_wrap=True)
