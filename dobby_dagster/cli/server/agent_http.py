"""The MCP server behind the guard, for ``dobby mcp --http``."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dobby_dagster.cli.server.listening_address import Names, listen, require_token
from dobby_dagster.cli.server.request_guard import Guard
from dobby_dagster.domain.settings import McpSettings

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


def open_sockets(settings: McpSettings) -> list[socket.socket]:
    """Open sockets that listen where ``settings`` say.

    Raises:
        SettingsError: They can't be listened on, or others can reach them and no token is set.
    """
    options = ("--host", "--port")
    sockets = listen(settings.host, settings.port, options)
    if settings.token is None:
        require_token(sockets, f"{options[0]} {settings.host}", "mcp.token", "set DOBBY_MCP_TOKEN to a secret")
    return sockets


def serve(server: Server[Any, Any], sockets: Sequence[socket.socket], named: Sequence[str], token: str | None) -> None:
    """Serve until SIGTERM, which ends this process with status 0.

    Args:
        server: What is served.
        sockets: Open, and listening.
        named: Host names that requests may use, besides those of the addresses.
        token: Bearer token of every request; None requires none.
    """
    import uvicorn

    from dobby_dagster.agent_server.http_transport import http_app

    # After its shutdown uvicorn raises the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = Guard(http_app(server, token), Names.of((str(one.getsockname()[0]) for one in sockets), named))
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, server_header=False)
    uvicorn.Server(config).run(sockets=list(sockets))
