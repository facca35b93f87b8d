"""``dobby check``: whether every record of a source tree has a current summary."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.exit_codes import FAILED
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.domain.plurals import counted


@options.takes("database")
def check(
    given: options.Given,
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Ingested trees, or files in them; by default all.", metavar="[PATH]...")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave out files that match this glob.")] = None,
    as_json: options.Json = False,
) -> None:
    """List what has no summary, or one of an earlier content; the exit status is 1 if there is any, or a tree is gone.

    Example: dobby check src || (dobby ingest src && dobby summarize)
    """
    from dobby_dagster.ingest.summary_coverage import coverage, lines_of

    use = opened(given)
    found = coverage(use.store, use.recipe(), paths or [], exclude or [])
    gone = {path: reason for path, reason in found.left_out.items() if not Path(path).exists()}
    if as_json:
        print_json({"current": found.current, "gaps": [asdict(gap) for gap in found.gaps], "left_out": found.left_out})
    else:
        for line in lines_of(found.gaps):
            out.print(line, soft_wrap=True)
        for path, reason in gone.items():
            note(f"not checked: {path}: {reason}; name the tree where it is now: dobby check PATH")
        note(f"{counted(found.current, 'record')} with a current summary, {len(found.gaps):,} without")
    if found.gaps or gone:
        raise typer.Exit(FAILED)
