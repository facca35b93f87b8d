"""``dobby site``: the records and their summaries as a static site."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.cli.record_lookup import typed
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.filesystem import expanded
from dobby_dagster.domain.plurals import counted


@options.takes("database", "relation")
def site(
    given: options.Given,
    folder: Annotated[Path, typer.Argument(help="The folder to write; a site that is there is updated.")],
    prefix: Annotated[str, typer.Argument(help="Only keys that begin so, as src/parser.py.")] = "",
    title: Annotated[str, typer.Option(help="The site's title; by default the name of the tree or relation.")] = "",
    without_content: Annotated[
        bool, typer.Option("--without-content", help="Leave out the contents: only names and summaries.")
    ] = False,
    recipe: options.Recipe = None,
    as_json: options.Json = False,
) -> None:
    """Write a static site of all records with their summaries, to read and search in a browser.

    It needs no server and loads nothing from the network. Written again, only pages that have changed are replaced.

    Example: dobby site public
    """
    from dobby_dagster.site.site_build import SiteOptions, write_site

    use = opened(given)
    wanted = SiteOptions(
        title=title,
        prefix=typed(prefix),
        recipe=use.recipe(recipe),
        unsure_below=use.settings.pipeline.unsure_below,
        content=not without_content,
    )
    began = time.monotonic()
    total = None if prefix else use.source.count()
    if total == 0:
        raise SourceError(f"relation '{use.relation}' has no records", hint="dobby ingest PATH reads a source tree")
    output = expanded(folder)
    with progress("Reading", total) as advance:
        result = write_site(use.store, use.source, wanted, output, lambda: advance(1))
    seconds = round(time.monotonic() - began, 3)
    index = output / "index.html"
    if as_json:
        print_json({"index": str(index), **asdict(result), "seconds": seconds})
        return
    out.print(str(index), soft_wrap=True)
    if wanted.recipe is None:
        note(f"nothing has been summarised yet, so that it shows the contents only: {use.command('summarize')}")
    note(
        f"{counted(result.records, 'record')}: {counted(result.written, 'file')} written, "
        f"{result.unchanged:,} unchanged, {result.removed:,} removed, in {seconds:.1f} s"
    )
