"""``dobby mcp``: the summaries for coding agents, by the Model Context Protocol."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened, pasteable
from dobby_dagster.cli.output import note
from dobby_dagster.domain.errors import SettingsError, StoreError

START_SECONDS = 5.0
_OF_HTTP = {"mcp.host": "--host", "mcp.port": "--port"}


@options.takes("database", "relation", "mcp_host", "mcp_port")
def mcp(
    given: options.Given,
    http: Annotated[
        bool, typer.Option("--http", help="Serve streamable HTTP instead of standard input and output.")
    ] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another host name that requests may use, as through a proxy.")
    ] = None,
) -> None:
    """Serve the summaries to coding agents, by the Model Context Protocol.

    Example: claude mcp add dobby -- dobby mcp --database sqlite:////home/me/code.db
    """
    named = [option for name, option in _OF_HTTP.items() if given.settings.get(name) is not None]
    if not http and (named or allow_host):
        raise SettingsError(f"{[*named, '--allow-host'][0]} needs --http", hint="add --http, or leave it out")
    # A client waits for the first answer not much longer.
    settings = {**given.settings, "database.lease_timeout_seconds": START_SECONDS}
    try:
        opened(replace(given, settings=settings))
    except StoreError as error:
        if not error.retry.may_pass:  # else each call says so until it has passed
            raise
    from dobby_dagster.agent_server.server import build_server
    from dobby_dagster.agent_server.stdio_transport import serve_stdio

    server = build_server(lambda memory: given.load(memory).settings, pasteable)
    if not http:
        if sys.stdin.isatty():
            note("an MCP client has to start this command; Ctrl-D ends it. See --http")
        serve_stdio(server)
        return
    from dobby_dagster.agent_server.http_transport import PATH
    from dobby_dagster.cli.server.agent_http import open_sockets, serve
    from dobby_dagster.cli.server.listening_address import url_of

    address = given.load().settings.mcp
    sockets = open_sockets(address)
    note(f"MCP at {url_of(address.host, sockets[0])}{PATH}")
    token = None if address.token is None else address.token.get_secret_value()
    serve(server, sockets, [address.host, *(allow_host or [])], token)
