"""``dobby export``: all records with their summaries, as a file or on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.plurals import counted


@options.takes("database", "relation")
def export(
    given: options.Given,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of standard output.")] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", "-f", help="markdown, jsonl, csv or parquet; by default --output's extension."),
    ] = None,
    force: options.Force = False,
    content: Annotated[bool, typer.Option("--content", help="Include the contents.")] = False,
    recipe: options.Recipe = None,
    unsure: Annotated[bool, typer.Option("--unsure", help="Only records with an unsure summary.")] = False,
) -> None:
    """Write every row of the source with its state and its summary by the last used model and prompt.

    Example: dobby export -o summaries.csv
    """
    from dobby_dagster.domain.suggest import suggestion
    from dobby_dagster.pipeline.reporting.doubtful_summaries import only_unsure
    from dobby_dagster.pipeline.reporting.export_columns import described
    from dobby_dagster.pipeline.reporting.export_formats import (
        FORMATS,
        TEXT_FORMATS,
        check_output,
        export_file,
        export_text,
    )

    if format_name is not None and format_name not in FORMATS:
        raise SettingsError(f"there is no format '{format_name}'", hint=suggestion(format_name, FORMATS))
    if output is not None:
        check_output(output, format_name, force=force)
    elif format_name is not None and format_name not in TEXT_FORMATS:
        raise SettingsError("parquet is not a text format", hint="name a file with --output")
    use = opened(given)
    chosen = use.recipe(recipe)
    entries = described(use.store.reports.rows(use.source, chosen), content=content)
    if unsure:
        entries = only_unsure(entries, use.settings.pipeline.unsure_below)
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
        export_text(entries, sys.stdout, format_name or "markdown")
        return
    with progress("Writing", use.source.count()) as advance:
        count = export_file(_counted(entries, advance), output, format_name, force=force)
    note(f"{counted(count, 'record')} written to {output}")


def _counted(entries: Iterable[Any], advance: Callable[[], object]) -> Iterator[Any]:
    for entry in entries:
        yield entry
        advance()
