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
from dobby_dagster.domain.printable import printable

# Paths that are named of those in no ingested tree, at most.
FEW = 3


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

    Paths that are in no ingested tree are named, and the others checked.

    Example: dobby check src || (dobby ingest src && dobby summarize)
    """
    from dobby_dagster.ingest.summary_coverage import TREE_GONE, coverage, lines_of

    use = opened(given)
    found = coverage(use.store, use.recipe(), paths or [], exclude or [])
    gone = [path for path, reason in found.left_out.items() if reason == TREE_GONE]
    if as_json:
        gaps = [asdict(gap) for gap in found.gaps]
        print_json(
            {"current": found.current, "gaps": gaps, "left_out": found.left_out, "outside": found.outside}
        )  # fmt: skip
    else:
        for line in lines_of(found.gaps):
            out.print(printable(line), soft_wrap=True)
        if found.outside:
            more = f" and {len(found.outside) - FEW:,} more" if len(found.outside) > FEW else ""
            note(f"not checked, in no ingested tree: {', '.join(found.outside[:FEW])}{more}")
        for path in gone:
            note(f"not checked: {path}: {TREE_GONE}; name the tree where it is now: dobby check PATH")
        note(f"{counted(found.current, 'record')} with a current summary, {len(found.gaps):,} without")
    if found.gaps or gone:
        raise typer.Exit(FAILED)
