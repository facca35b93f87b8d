"""``dobby config``: the settings in use."""

from __future__ import annotations

from contextlib import suppress

from dobby_dagster.cli import options
from dobby_dagster.cli.output import print_json, print_table
from dobby_dagster.domain.errors import StoreError


@options.takes("database")
def config(given: options.Given, as_json: options.Json = False) -> None:
    """Show each setting, its value, and where it came from; secrets are masked."""
    from dobby_dagster.store.cozo_store import CozoStore

    loaded = given.load()
    with suppress(StoreError):  # settings are shown even if the database can't be opened
        loaded = given.load(CozoStore.open(loaded.settings.database, create=False).memory)
    rows = loaded.rows()
    if as_json:
        print_json({name: {"value": value, "origin": origin} for name, value, origin, _ in rows})
    else:
        print_table(["setting", "value", "from", "description"], rows)
