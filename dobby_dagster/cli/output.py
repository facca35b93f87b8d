"""What goes to the screen: results to standard output, everything else to standard error.

Whatever is printed here comes out harmless: plain text, never markup, and every character of it can be seen.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from dobby_dagster.domain.printable import printable, printable_json


class PlainConsole(Console):
    """A console on which untrusted text is text: no markup, no emoji codes, no escape sequences but rich's own."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """See :meth:`rich.console.Console.render_str`; escapes are written before the text is laid out."""
        return super().render_str(printable(text, lines=True), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """See :meth:`rich.console.Console.render`; the last wall, for whatever brought its own text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, lines=True), segment.style)


out = PlainConsole()
err = PlainConsole(stderr=True)


class PrintableFormatter(logging.Formatter):
    """A record is one line, except for its traceback; every character can be seen."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """See :class:`logging.Formatter`."""
        return printable(super().formatMessage(record))

    def formatException(  # noqa: N802
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """See :class:`logging.Formatter`."""
        return printable(super().formatException(ei), lines=True)


def log_to_stderr(level: int) -> None:
    """Send log records of ``level`` and above to standard error, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def encode_anything() -> None:
    """Let standard output and error escape what their encoding lacks, where it would raise."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def is_unicode() -> bool:
    """Whether standard output can show more than ASCII."""
    return (out.encoding or "ascii").lower().startswith("utf")


def print_json(value: Any) -> None:
    """``value`` as one JSON document."""
    sys.stdout.write(printable_json(value) + "\n")


def note(message: str) -> None:
    """One line for people, on standard error."""
    err.print(Text(printable(message)))


def fail(message: str) -> None:
    """One red line on standard error."""
    line = Text("error: ", style="bold red")
    line.append(printable(message), style="default")
    err.print(line, soft_wrap=True)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """A table of plain text."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for header in headers:
        table.add_column(printable(header), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    out.print(table)


def _cell(value: Any) -> str:
    return printable(f"{value:.3f}" if isinstance(value, float) else value, lines=True)
