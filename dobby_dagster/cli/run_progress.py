"""A run in this process with progress bars, and what a command says about it at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from dobby_dagster.cli.exit_codes import FAILED, STOPPED
from dobby_dagster.cli.output import fail, note
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.domain.plurals import counted

if TYPE_CHECKING:
    from dobby_dagster.defs.runs.terminal_runs import Report


@dataclass(frozen=True)
class Finished:
    """The result of a command's runs.

    Attributes:
        report: Of the plan and the runs.
        settled: How many records were settled.
        inferred: How many of those needed the model.
        seconds: How long it took, planning and commits included.
    """

    report: Report
    settled: int
    inferred: int
    seconds: float

    def metrics(self) -> dict[str, Any]:
        """The entries of ``--json`` that all commands with runs have."""
        return {
            "settled": self.settled, "inferred": self.inferred, "seconds": self.seconds, "runs": self.report.runs,
            "failures": self.report.failures, "stopped": self.report.stopped,
        }  # fmt: skip

    def headline(self, status: dict[str, int]) -> str:
        """What the runs did, in one line, also if they failed or were stopped.

        Args:
            status: How many records there are, in all and by state, after the runs.
        """
        done = f"{self.report.done:,} of {sum(self.report.todo.values()):,} done"
        if self.report.stopped:
            return f"Stopped: {done}. What was committed is kept; the same command continues from there."
        if self.report.failures and not self.inferred:
            return f"Failed: {done}."
        if self.inferred:
            return (
                f"Inferred {counted(self.inferred, 'summary')} in {self.seconds:.1f} s, including start and commit: "
                f"{self.inferred / self.seconds * 60:,.0f} a minute."
            )
        if status["pending"] + status["in_progress"] or self.report.done:
            return f"Nothing was inferred: {done}."
        if not status["records"]:
            return "Nothing to infer: there are no records yet."
        return f"Nothing to infer: {counted(status['records'], 'record')}, all settled."

    def exit(self) -> None:
        """Name each run that failed, and exit with a status that is not 0 if one did or the user stopped it."""
        for failure in self.report.failures:
            fail(failure)
        if self.report.stopped:
            raise typer.Exit(STOPPED)
        if self.report.failures:
            raise typer.Exit(FAILED)


def run_with_bars(start: Callable[[Callable[[Report], None]], Report]) -> Finished:
    """Run ``start`` with progress bars.

    Args:
        start: Plans, calls what it is given once the plan is made, then runs; again for each further level.
    """
    from dobby_dagster.pipeline.progress import Stage, listening

    began = time.perf_counter()
    settled = inferred = 0
    with ExitStack() as bars:
        steps = {"planning": bars.enter_context(progress("Polling the source", None))}

        def on_plan(report: Report) -> None:
            bars.pop_all().close()
            if report.device_used_by:
                note(f"waiting for the device: run {', '.join(r[:8] for r in report.device_used_by)} uses it")
            todo = sum(report.todo.values())
            if todo:
                title = f"Summarising {report.level}".strip()
                steps["inferring"] = bars.enter_context(progress(title, todo))

        def on_progress(stage: Stage, records: int, of_model: int) -> None:
            nonlocal settled, inferred
            if stage == "summarizing":
                settled += records
                inferred += of_model
            elif stage in steps:
                steps[stage](records)

        with listening(on_progress):
            report = start(on_plan)
    return Finished(report, settled, inferred, time.perf_counter() - began)
