"""The monitor behind the guard: as a process of ``dobby dev``, or of the command ``dobby monitor``."""

from __future__ import annotations

import argparse
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dobby_dagster.cli.server.listening_address import Names, listen, require_token
from dobby_dagster.cli.server.login_secret import LOGIN_FILE, login_token
from dobby_dagster.cli.server.request_guard import Guard
from dobby_dagster.cli.server.served_home import ServedHome
from dobby_dagster.domain.owner import pid_of
from dobby_dagster.domain.settings import MonitorSettings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.monitor.ledger import LoadSettings


def open_sockets(settings: MonitorSettings, options: tuple[str, str]) -> list[socket.socket]:
    """Open sockets that listen where ``settings`` say.

    Args:
        settings: The address.
        options: How host and port are named in an error.

    Raises:
        SettingsError: They can't be listened on, or others can reach them and no token is set.
    """
    sockets = listen(settings.host, settings.port, options)
    if settings.token is None:
        hint = "set DOBBY_MONITOR_TOKEN to a secret that Prometheus sends as its bearer token"
        require_token(sockets, f"{options[0]} {settings.host}", "monitor.token", hint)
    return sockets


def serve(
    sockets: Sequence[socket.socket],
    named: Sequence[str],
    load: LoadSettings,
    dagster: tuple[str, str],
    processes: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Serve until SIGTERM.

    Args:
        sockets: Open, and listening.
        named: Host names that requests may use, besides those of the addresses.
        load: Reads the settings again.
        dagster: URL and token of Dagster's web server; both may be empty.
        processes: The processes that have to live, by name.
    """
    import uvicorn

    from dobby_dagster.monitor.dagster_services import DagsterServices
    from dobby_dagster.monitor.monitor_app import monitor_app
    from dobby_dagster.monitor.system_monitor import Monitor

    settings = load(None).monitor
    names = _names(sockets, named)
    token = None if names.loopback or settings.token is None else settings.token.get_secret_value()
    url, login = dagster
    services = DagsterServices(url, login, settings.limit_seconds, settings.heartbeat_seconds) if url else None
    app = Guard(monitor_app(Monitor(load, processes, services), token), names)
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, server_header=False)
    uvicorn.Server(config).run(sockets=list(sockets))


def _names(sockets: Sequence[socket.socket], named: Sequence[str] = ()) -> Names:
    return Names.of((str(one.getsockname()[0]) for one in sockets), named)


def main() -> None:
    """Read the arguments that ``dobby dev`` gives, and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path, help="DAGSTER_HOME.")
    parser.add_argument("--socket", type=int, action="append", required=True, help="An inherited file descriptor.")
    parser.add_argument("--name", action="append", default=[])
    parser.add_argument("--dagster", required=True, help="URL of the web server.")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")

    def processes() -> dict[str, str]:
        served = ServedHome.read(given.home)
        others = {name: owner for name, owner in served.children.items() if pid_of(owner) != os.getpid()}
        return {"dobby dev": served.supervisor, **others}

    serve(
        [socket.socket(fileno=number) for number in given.socket],
        given.name,
        lambda memory: load_settings(memory=memory).settings,
        (given.dagster, login_token(given.home) if (given.home / LOGIN_FILE).exists() else ""),
        processes,
    )


if __name__ == "__main__":
    main()
