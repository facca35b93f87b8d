"""Terminal output: results go to standard output, everything else to standard error.

Untrusted text is printed as plain text: markup is not interpreted, and invisible characters are escaped.
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
        """See :meth:`rich.console.Console.render_str`; characters are escaped before the layout."""
        return super().render_str(printable(text, lines=True), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """See :meth:`rich.console.Console.render`; also escapes the text of renderables that bring their own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, lines=True), segment.style)


out = PlainConsole()
err = PlainConsole(stderr=True)


class PrintableFormatter(logging.Formatter):
    """Formats a log record as one line, plus its traceback, with invisible characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """See :class:`logging.Formatter`."""
        return printable(super().formatMessage(record))

    def formatException(  # noqa: N802
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """See :class:`logging.Formatter`."""
        return printable(super().formatException(ei), lines=True)


def log_to_stderr(level: int) -> None:
    """Log records of ``level`` and above to standard error, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def encode_anything() -> None:
    """Let standard output and error escape characters that their encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def is_unicode() -> bool:
    """Whether standard output can show more than ASCII."""
    return (out.encoding or "ascii").lower().startswith("utf")


def print_json(value: Any) -> None:
    """Print ``value`` as one JSON document."""
    sys.stdout.write(printable_json(value) + "\n")


def note(message: str) -> None:
    """Print one line for people to standard error."""
    err.print(Text(printable(message)))


def fail(message: str) -> None:
    """Print one line that begins with a red ``error:`` to standard error."""
    line = Text("error: ", style="bold red")
    line.append(printable(message), style="default")
    err.print(line, soft_wrap=True)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table of plain text; floats with three decimals."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for header in headers:
        table.add_column(printable(header), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    out.print(table)


def _cell(value: Any) -> str:
    return printable(f"{value:.3f}" if isinstance(value, float) else value, lines=True)
