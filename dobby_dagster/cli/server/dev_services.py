"""``dobby dev`` keeps four processes alive: the code server, the daemon, the web server and the monitor."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from dobby_dagster.cli.server.listening_address import Names, listen, own_url, url_of
from dobby_dagster.cli.server.log_filter import filtered_log
from dobby_dagster.cli.server.login_secret import LOGIN_FILE, LOGIN_PATH, login_token
from dobby_dagster.cli.server.monitor_server import open_sockets
from dobby_dagster.cli.server.served_home import ServedHome
from dobby_dagster.cli.server.service import Service
from dobby_dagster.domain.atomic_file import replacing
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.owner import new_owner, owner_of, reap, retire
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import MonitorSettings

# Longest path of a Unix socket, in bytes, that every system allows.
SOCKET_LENGTH = 100
STOP_SECONDS = 10.0


def serve(
    home: Path,
    host: str,
    port: int,
    names: list[str],
    monitor: MonitorSettings,
    environment: dict[str, str],
    tell: Callable[[str], None],
) -> None:
    """Keep the four processes alive until SIGINT or SIGTERM; then stop them, and the runs that they started.

    Args:
        home: DAGSTER_HOME.
        host: Where the web server listens.
        port: The web server's port; 0 for any free one.
        names: Host names that requests may use, besides the address and ``host``.
        monitor: Where the monitor listens.
        environment: Of all four processes.
        tell: Gets one line whenever a process ends or starts.

    Raises:
        SettingsError: Another process serves the home, or an address can't be listened on.
    """
    served = ServedHome.read(home)
    if served.is_running:
        raise SettingsError(
            f"DAGSTER_HOME {home} is served already, at {served.url}",
            hint="stop that dobby dev, or use another DAGSTER_HOME",
        )
    orphans = served.end_orphans()
    if orphans:
        tell(f"killed {counted(orphans, 'process')} that an earlier dobby dev left behind")
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in listen(host, port)]
        watched = [stack.enter_context(one) for one in open_sockets(monitor, ("monitor.host", "monitor.port"))]
        served.supervisor, served.url, served.children = new_owner(), url_of(host, sockets[0]), {}
        served.monitor = url_of(monitor.host, watched[0])
        stack.callback(retire, served.supervisor)
        _announce(home, served.url, Names.of((one.getsockname()[0] for one in sockets), ()).loopback, tell)
        tell(f"health and metrics at {served.monitor}/health, /ready and /metrics")
        services = _services(home, sockets, [host, *names])
        services.append(_monitor(home, watched, [monitor.host, *names], own_url(sockets[0])))
        log = stack.enter_context(filtered_log())
        _supervise(services, served, environment, log, tell)


def _supervise(
    services: list[Service], served: ServedHome, environment: dict[str, str], log: int, tell: Callable[[str], None]
) -> None:
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopping.append(number))
    try:
        while not stopping:
            started = [service.ensure_running(environment, log, tell) for service in services]
            running = {service.name: service.process.pid for service in services if service.process is not None}
            if any(started):
                served.children = {name.removeprefix("the "): owner_of(pid) for name, pid in running.items()}
                served.write()
            served.refresh()
            reap(kept=running.values())
            time.sleep(0.2)
        tell("stopping")
    finally:
        _stop([service.process for service in services if service.process is not None])
        served.path.unlink(missing_ok=True)


def _announce(home: Path, url: str, loopback: bool, tell: Callable[[str], None]) -> None:
    """Say where the UI is; if others can reach it, how to log in, without the secret in a log that others may read."""
    if loopback:
        tell(f"Dagster UI at {url}; stop it with Ctrl-C")
        return
    token = login_token(home)
    if sys.stderr.isatty():
        tell(f"Dagster UI; log in at {url}{LOGIN_PATH}?token={token}")
    else:
        tell(f"Dagster UI; log in at {url}{LOGIN_PATH}?token=… with the token in {home / LOGIN_FILE}")
    tell("others can reach it over plain HTTP: outside a trusted network, use a TLS proxy or an SSH tunnel")


def _services(home: Path, sockets: list[socket.socket], names: list[str]) -> list[Service]:
    from dobby_dagster.defs.runs.in_process import LOCATION

    code_socket = _socket(home)
    code_socket.unlink(missing_ok=True)
    workspace = home / "workspace.yaml"
    where = json.dumps({"socket": str(code_socket), "location_name": LOCATION})
    with replacing(workspace) as draft:
        draft.write_text(f"load_from:\n  - grpc_server: {where}\n")
    python, log = [sys.executable, "-m"], ["--log-level", "warning"]
    code = [*python, "dagster", "api", "grpc", "-m", "dobby_dagster.definitions", "--socket", str(code_socket), *log]
    code += ["--lazy-load-user-code", "--use-python-environment-entry-point", "--location-name", LOCATION]
    code += ["--inject-env-vars-from-instance"]
    daemon = [*python, "dagster._daemon", "run", "-w", str(workspace), *log]
    numbers = tuple(one.fileno() for one in sockets)
    web = [*python, "dobby_dagster.cli.server.web_server", str(workspace)]
    web += [f"--socket={number}" for number in numbers] + [f"--name={name}" for name in names]
    return [
        Service("the code server", code),
        Service("the daemon", daemon, code_socket),
        Service("the web server", web, code_socket, numbers),
    ]


def _monitor(home: Path, sockets: list[socket.socket], names: list[str], dagster: str) -> Service:
    numbers = tuple(one.fileno() for one in sockets)
    command = [sys.executable, "-m", "dobby_dagster.cli.server.monitor_server", str(home), f"--dagster={dagster}"]
    command += [f"--socket={number}" for number in numbers] + [f"--name={name}" for name in names]
    return Service("the monitor", command, sockets=numbers)


def _socket(home: Path) -> Path:
    """The code server's socket: the same path at every start, private to this user, and short enough."""
    path = home / "code.sock"
    if len(str(path)) <= SOCKET_LENGTH:
        return path
    folder = Path(tempfile.gettempdir()) / f"dobby-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise SettingsError(
            f"{folder} belongs to another user, or others can access it",
            hint="choose a DAGSTER_HOME with a shorter path",
        )
    return folder / "code.sock"


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """SIGTERM first, so that runs in progress release their records; SIGKILL after ``STOP_SECONDS``."""
    running: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.Error):
            leader = psutil.Process(process.pid)
            running += [leader, *leader.children(recursive=True)]
    for one in running:
        with suppress(psutil.Error):
            one.terminate()
    _, alive = psutil.wait_procs(running, timeout=STOP_SECONDS)
    for one in alive:
        with suppress(psutil.Error):
            one.kill()
