"""Progress: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeAlias

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from dobby_dagster.cli.output import err, note
from dobby_dagster.domain.printable import printable

# Called with the number of further items done, by default 1.
Advance: TypeAlias = Callable[..., None]
LINE_SECONDS = 10.0
# Nothing is printed about what takes no longer than this.
SHORT_SECONDS = 0.5


def progress(description: str, total: int | None) -> AbstractContextManager[Advance]:
    """Show progress during the block, which gets a function that advances it.

    Args:
        description: What is being done, as "Summarising".
        total: Number of items; None if unknown, which is shown on a terminal only.
    """
    if is_live():
        return _bar(description, total)
    return nullcontext(lambda count: None) if total is None else _lines(description, total)


def working(message: str) -> AbstractContextManager[object]:
    """A spinner for work of unknown length; only on a terminal."""
    return err.status(Text(printable(message))) if is_live() else nullcontext()


def is_live() -> bool:
    """Whether standard error is a terminal that can redraw a line."""
    return err.is_terminal and not err.is_dumb_terminal and err.file.isatty()


class _Spinner(SpinnerColumn):
    """Spins until the block ends: after the last record there is still a commit."""

    ended = False

    def render(self, task: Task) -> RenderableType:
        return Text(" ") if self.ended else self.spinner.render(task.get_time())


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(_per_minute(speed) if speed else "")


@contextmanager
def _bar(description: str, total: int | None) -> Iterator[Advance]:
    spinner = _Spinner()
    columns: list[ProgressColumn] = [spinner, TextColumn("{task.description}", markup=False)]
    if total is None:
        columns += [TextColumn("{task.completed:,.0f}"), TimeElapsedColumn()]
    else:
        columns += [BarColumn(bar_width=None), TaskProgressColumn(), MofNCompleteColumn(), _Rate()]
        columns += [TextColumn("left"), TimeRemainingColumn()]
    with Progress(*columns, console=err, transient=total is None, expand=total is not None) as bar:
        task = bar.add_task(printable(description), total=total)
        try:
            yield partial(bar.advance, task)
        finally:
            spinner.ended = True


@contextmanager
def _lines(description: str, total: int) -> Iterator[Advance]:
    """One line every ``LINE_SECONDS``, and one at the end of what takes longer than ``SHORT_SECONDS``.

    The time left is computed from the speed since the first item: before that, a model is loaded.
    """
    started = reported = time.monotonic()
    first: tuple[float, int] | None = None
    done, said = 0, -1

    def report() -> None:
        nonlocal said
        said = done
        now = time.monotonic()
        rate = done / (now - started) if now > started else 0.0
        since, before = first or (now, done)
        speed = (done - before) / (now - since) if now > since else 0.0
        left = f", {_duration((total - done) / speed)} left" if speed and done < total else ""
        note(f"{description}: {done:,} of {total:,} ({done / total:.0%}), {_per_minute(rate)}{left}")

    def advance(count: int = 1) -> None:
        nonlocal done, reported, first
        done += count
        first = first or (time.monotonic(), done)
        if time.monotonic() - reported >= LINE_SECONDS:
            reported = time.monotonic()
            report()

    try:
        yield advance
    finally:
        if total and said != done and time.monotonic() - started > SHORT_SECONDS:
            report()


def _per_minute(rate: float) -> str:
    return f"{rate * 60:,.0f}/min"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
