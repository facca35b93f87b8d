"""How far a command is: a moving bar on a terminal, plain lines in a log file."""

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

# Called with how many more are done; 1 by default.
Advance: TypeAlias = Callable[..., None]
LINE_SECONDS = 10.0
# What takes no longer than this is over before a line about it can be read.
SHORT_SECONDS = 0.5


def progress(description: str, total: int | None) -> AbstractContextManager[Advance]:
    """How far ``description`` is; what the block gets advances it.

    Args:
        description: What is being done, as "Summarising".
        total: How much there is to do; None where that is not known, which shows on a terminal only.
    """
    if is_live():
        return _bar(description, total)
    return nullcontext(lambda count: None) if total is None else _lines(description, total)


def working(message: str) -> AbstractContextManager[object]:
    """A spinner for what can't say how far it is; only on a terminal."""
    return err.status(Text(printable(message))) if is_live() else nullcontext()


def is_live() -> bool:
    """Whether standard error is a terminal on which a line can be drawn again."""
    return err.is_terminal and not err.is_dumb_terminal and err.file.isatty()


class _Spinner(SpinnerColumn):
    """Turns until the block ends: after the last record there is still a commit to come."""

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
    """One line every ten seconds, and one at the end of what takes a while."""
    began = told = time.monotonic()
    done = 0

    def tell() -> None:
        seconds = time.monotonic() - began
        rate = done / seconds if seconds else 0.0
        left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
        note(f"{description}: {done:,} of {total:,} ({done / total:.0%}), {_per_minute(rate)}{left}")

    def advance(count: int = 1) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told >= LINE_SECONDS:
            told = time.monotonic()
            tell()

    try:
        yield advance
    finally:
        if total and time.monotonic() - began > SHORT_SECONDS:
            tell()


def _per_minute(rate: float) -> str:
    return f"{rate * 60:,.0f}/min"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
