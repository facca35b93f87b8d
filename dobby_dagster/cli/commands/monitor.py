"""``dobby monitor``: health, readiness and metrics, beside Dagster services that something else keeps alive."""

from __future__ import annotations

from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.output import note
from dobby_dagster.domain.errors import StoreError
from dobby_dagster.store.cozo_store import CozoStore


@options.takes("database", "relation", "monitor_host", "monitor_port", "dagster_url")
def monitor(
    given: options.Given,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another host name that requests may use, as through a proxy.")
    ] = None,
) -> None:
    """Serve /health, /ready and /metrics, for Dagster services that dobby dev does not run."""
    from dobby_dagster.cli.database_in_use import require_lasting
    from dobby_dagster.cli.server.listening_address import url_of
    from dobby_dagster.cli.server.monitor_server import open_sockets, serve

    settings = given.load().settings
    require_lasting(settings.database)
    try:
        CozoStore.open(settings.database, create=False)
    except StoreError as error:
        if not error.retry.may_pass:  # else /ready says so until it has passed
            raise
    sockets = open_sockets(settings.monitor, ("--host", "--port"))
    note(f"health and metrics at {url_of(settings.monitor.host, sockets[0])}/health, /ready and /metrics")
    names = [settings.monitor.host, *(allow_host or [])]
    serve(sockets, names, lambda memory: given.load(memory).settings, (settings.monitor.dagster_url, ""))
