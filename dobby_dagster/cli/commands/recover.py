"""``dobby recover``: release what dead processes still hold."""

from __future__ import annotations

from dobby_dagster.cli import options
from dobby_dagster.cli.output import out, print_json


@options.takes("database")
def recover(given: options.Given, as_json: options.Json = False) -> None:
    """Recover from dead processes: end their runs, return the records they had started, free their pool slots."""
    from dobby_dagster.defs.runs import crash_recovery
    from dobby_dagster.defs.runs.dagster_home import opened_instance
    from dobby_dagster.store.cozo_store import CozoStore

    settings = given.load().settings
    store = CozoStore.open(settings.database, create=False)
    with opened_instance(settings) as instance:
        found = crash_recovery.repair(instance, store)
    if as_json:
        print_json({"runs": found.runs, "records": found.records + found.repaired, "slots": found.slots})
    else:
        out.print(f"{found}." if found else "Nothing was stuck.", highlight=False)
