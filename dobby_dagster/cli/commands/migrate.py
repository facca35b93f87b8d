"""``dobby migrate``: create the database, or bring its schema to this version."""

from __future__ import annotations

from dobby_dagster.cli import options
from dobby_dagster.cli.output import out, print_json


@options.takes("database")
def migrate(given: options.Given, as_json: options.Json = False) -> None:
    """Create the database if there is none, and bring its schema to this version of Dobby.

    Every command does the second when it opens a database; a deployment does both once, before its services start.
    """
    from dobby_dagster.cli.database_in_use import require_lasting
    from dobby_dagster.store.cozo_store import CozoStore

    settings = given.load().settings
    require_lasting(settings.database)
    health = CozoStore.open(settings.database).health()
    if as_json:
        print_json({"database": health.url, "schema_version": health.schema_version})
    else:
        out.print(f"{health.url} has schema version {health.schema_version}.", highlight=False, markup=False)
