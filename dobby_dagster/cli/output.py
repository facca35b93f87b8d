"""What goes to the screen: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

out = Console()
err = Console(stderr=True)


def print_json(value: Any) -> None:
    """``value`` as one JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def note(message: str) -> None:
    """One line for people, on standard error."""
    err.print(Text(message))


def fail(message: str) -> None:
    """One red line on standard error."""
    line = Text("error: ", style="bold red")
    line.append(message, style="default")
    err.print(line, soft_wrap=True)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """A table; cells are plain text, never markup."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    out.print(table)


def printable(value: Any) -> str:
    """``value`` on a screen: control characters, which a record may hold, are shown and not sent."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


class _Rate(TextColumn):
    def render(self, task: Any) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed * 60:,.0f}/min" if speed else "")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Any]:
    """A progress bar with rate and time left; yields a function that advances it."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        _Rate(""),
        TimeRemainingColumn(),
        console=err,
        transient=total is None,
        disable=total is None and not err.is_terminal,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda count=1: bar.advance(task, count)


def working(message: str) -> AbstractContextManager[object]:
    """A spinner for what can't say how far it is; only on a terminal."""
    return err.status(message) if err.is_terminal else nullcontext()
