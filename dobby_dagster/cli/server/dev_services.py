"""What ``dobby dev`` keeps alive: the code server, the daemon, the web server, each a process of its own."""

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
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dobby_dagster.cli.server.listening_address import Names, listen
from dobby_dagster.cli.server.log_filter import filtered_log
from dobby_dagster.cli.server.login_secret import LOGIN_FILE, LOGIN_PATH, login_token
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.filesystem import PRIVATE_FILE, replacing
from dobby_dagster.domain.owner import is_alive, new_owner, owner_of, pid_of, reap, retire

# Longest path that a Unix socket may have, on any system.
SOCKET_LENGTH = 100
STEADY_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass
class Service:
    """One process that is started again whenever it ends.

    Attributes:
        name: For people.
        command: Its arguments, the program first.
        needs: It is not started before this path is there.
        sockets: Descriptors that it inherits.
        process: The present one.
        falls: How often it has ended soon after its start.
    """

    name: str
    command: list[str]
    needs: Path | None = None
    sockets: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    falls: int = 0
    began: float = 0.0
    again_at: float = 0.0

    def tend(self, environment: dict[str, str], log: int, tell: Callable[[str], None]) -> bool:
        """Start it, writing to ``log``, if it does not run and its pause is over; whether it was started."""
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return False
            self.falls = self.falls + 1 if now - self.began < STEADY_SECONDS else 0
            self.again_at = now + min(LONGEST_PAUSE_SECONDS, 0.5 * 2.0**self.falls)
            self.process = None
            tell(f"{self.name} ended ({code}); it is started again")
        if now < self.again_at or (self.needs is not None and not self.needs.exists()):
            return False
        # Its arguments are this module's own. A group of its own: a stop is passed on in order, not by the terminal.
        self.process = subprocess.Popen(  # noqa: S603
            self.command, env=environment, start_new_session=True, pass_fds=self.sockets, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
        self.began = now
        return True


@dataclass
class Served:
    """Which processes serve a DAGSTER_HOME, as its file ``served.json`` says."""

    path: Path
    supervisor: str = ""
    url: str = ""
    children: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, home: Path) -> Served:
        """What the file says; nothing where there is none, or none that can be read."""
        path = home / "served.json"
        try:
            return cls(path, **json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return cls(path)

    def write(self) -> None:
        """Replace the file at once."""
        values = {"supervisor": self.supervisor, "url": self.url, "children": self.children}
        with replacing(self.path, mode=PRIVATE_FILE) as draft:
            draft.write_text(json.dumps(values))

    def end_orphans(self) -> int:
        """End what a supervisor that was killed left behind: two daemons must not share a DAGSTER_HOME."""
        alive: list[psutil.Process] = []
        for owner in self.children:
            if is_alive(owner, time.time()):
                with suppress(psutil.Error):
                    alive.append(psutil.Process(pid_of(owner)))
                    alive[-1].kill()
        psutil.wait_procs(alive, timeout=STOP_SECONDS)  # until then they hold the port
        return len(alive)


def serve(
    home: Path, host: str, port: int, names: list[str], environment: dict[str, str], tell: Callable[[str], None]
) -> None:
    """Keep the three alive until SIGINT or SIGTERM; then stop them, and the runs that they began.

    Args:
        home: DAGSTER_HOME.
        host: Where the web server listens.
        port: The same; 0 for any that is free.
        names: Under which it may be asked for, beside the address and ``host``.
        environment: Of all three.
        tell: Told one line whenever something ends or begins.

    Raises:
        SettingsError: The home is served already, or ``host`` or ``port`` can't be had.
    """
    served = Served.read(home)
    if served.supervisor and is_alive(served.supervisor, time.time()):
        raise SettingsError(
            f"DAGSTER_HOME {home} is served already, at {served.url}", hint="stop that one, or use another DAGSTER_HOME"
        )
    orphans = served.end_orphans()
    if orphans:
        tell(f"{orphans} processes that an earlier dobby dev left behind were ended")
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in listen(host, port)]
        served.supervisor, served.url, served.children = new_owner(), url_of(host, sockets[0]), []
        stack.callback(retire, served.supervisor)
        _announce(home, served.url, Names.of((one.getsockname()[0] for one in sockets), ()).loopback, tell)
        services = _services(home, sockets, [host, *names])
        log = stack.enter_context(filtered_log())
        _tend(services, served, environment, log, tell)


def _tend(
    services: list[Service], served: Served, environment: dict[str, str], log: int, tell: Callable[[str], None]
) -> None:
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopping.append(number))
    try:
        while not stopping:
            begun = [service.tend(environment, log, tell) for service in services]
            running = [service.process.pid for service in services if service.process is not None]
            if any(begun):
                served.children = [owner_of(pid) for pid in running]
                served.write()
            reap(kept=running)
            time.sleep(0.2)
        tell("stopping")
    finally:
        _stop([service.process for service in services if service.process is not None])
        served.path.unlink(missing_ok=True)


def _announce(home: Path, url: str, loopback: bool, tell: Callable[[str], None]) -> None:
    """Say where the UI is, and how to log in where others can reach it: not in a log that others may read."""
    if loopback:
        tell(f"Dagster UI at {url}; stop it with Ctrl-C")
        return
    token = login_token(home)
    if sys.stderr.isatty():
        tell(f"Dagster UI; log in at {url}{LOGIN_PATH}?token={token}")
    else:
        tell(f"Dagster UI; log in at {url}{LOGIN_PATH}?token=… with the token in {home / LOGIN_FILE}")
    tell("others can reach it, over plain HTTP: put TLS before it, or use an SSH tunnel, outside a network you trust")


def url_of(host: str, listening: socket.socket) -> str:
    """The URL of a server that was told to listen at ``host``."""
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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


def _socket(home: Path) -> Path:
    """The code server's socket: the same at every start, reachable by nobody else, and not too long a path."""
    path = home / "code.sock"
    if len(str(path)) <= SOCKET_LENGTH:
        return path
    folder = Path(tempfile.gettempdir()) / f"dobby-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise SettingsError(f"{folder} is somebody else's", hint="choose a DAGSTER_HOME with a shorter path")
    return folder / "code.sock"


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask first: runs in flight give back what they had begun. Then insist."""
    everyone: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.Error):
            leader = psutil.Process(process.pid)
            everyone += [leader, *leader.children(recursive=True)]
    for one in everyone:
        with suppress(psutil.Error):
            one.terminate()
    _, alive = psutil.wait_procs(everyone, timeout=STOP_SECONDS)
    for one in alive:
        with suppress(psutil.Error):
            one.kill()
