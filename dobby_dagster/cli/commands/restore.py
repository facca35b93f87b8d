"""``dobby restore``: a database from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.output import note
from dobby_dagster.cli.progress_bars import working


@options.takes("database")
def restore(given: options.Given, path: Annotated[Path, typer.Argument(help="A backup.")]) -> None:
    """Fill a new, empty database from a backup."""
    from dobby_dagster.store.maintenance import backup_file

    settings = given.load().settings
    with working(f"Reading {path}…"):
        held = backup_file.restore(settings.database, path)
    note(f"{settings.database.url} restored from {path} and verified: {held.summary}")
