"""``dobby backup``: the whole database in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.output import note
from dobby_dagster.cli.progress_bars import working


@options.takes("database")
def backup(given: options.Given, path: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Write the whole database, your relation included, to one file, and verify the file by reading it back."""
    from dobby_dagster.store.cozo_store import CozoStore

    settings = given.load().settings
    store = CozoStore.open(settings.database, create=False)
    with working(f"Writing {path}…"):
        held = store.backup(path)
    if settings.database.address.is_server:
        note(f"the server wrote {path} on its own machine: {held.summary}; the file was not verified")
    else:
        note(f"backup written to {path} and verified: {held.summary}")
