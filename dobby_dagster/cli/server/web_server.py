"""Dagster's web server behind the guard, on sockets that ``dobby dev`` has opened."""

from __future__ import annotations

import argparse
import logging
import socket
from pathlib import Path

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from dobby_dagster.cli.output import log_to_stderr
from dobby_dagster.cli.server.listening_address import Names
from dobby_dagster.cli.server.login_secret import login_token
from dobby_dagster.cli.server.request_guard import Guard

# dagster-webserver's own values.
STATEMENT_TIMEOUT_MILLISECONDS, POOL_RECYCLE_SECONDS, POOL_OVERFLOW = 15_000, 3_600, 20
POLL_MILLISECONDS = 2_000


def serve(workspace: Path, sockets: list[socket.socket], named: list[str]) -> None:
    """Serve until SIGTERM.

    Args:
        workspace: Dagster's workspace file; DAGSTER_HOME is its folder.
        sockets: Open, and listening.
        named: Host names that requests may use, besides those of the addresses.
    """
    names = Names.of((str(one.getsockname()[0]) for one in sockets), named)
    token = None if names.loopback else login_token(workspace.parent)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MILLISECONDS, POOL_RECYCLE_SECONDS, POOL_OVERFLOW)
        with WorkspaceProcessContext(
            instance, WorkspaceFileTarget([str(workspace)]), version=__version__, code_server_log_level="warning"
        ) as context:
            app = Guard(create_app_from_workspace_process_context(context, "", POLL_MILLISECONDS), names, token)
            # No access log, since it would hold the login link. Proxy headers are ignored, since anybody can send them.
            config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, server_header=False)
            uvicorn.Server(config).run(sockets=sockets)


def main() -> None:
    """Read the arguments that ``dobby dev`` gives, and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--socket", type=int, action="append", required=True, help="An inherited file descriptor.")
    parser.add_argument("--name", action="append", default=[])
    given = parser.parse_args()
    log_to_stderr(logging.WARNING)
    serve(given.workspace, [socket.socket(fileno=number) for number in given.socket], given.name)


if __name__ == "__main__":
    main()
