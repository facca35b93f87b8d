"""Several hosts on this machine: each with a network, a process table and a name of its own, joined by virtual cables."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

import dobby_dagster


@cache
def reason_without_hosts() -> str:
    """Why hosts can't be made here; empty where they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if missing := [tool for tool in ("ip", "unshare") if shutil.which(tool) is None]:
        return f"there is no command {missing[0]} (Debian's iproute2 and util-linux)"
    name = f"dobby{os.getpid()}try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces can't be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    tried = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "true"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return f"PID namespaces can't be made: {done.stderr.strip()}" if done.returncode else ""


class Relay:
    """Carries connections from the end of a host's cable to a server on loopback, each piece ``delay`` seconds later."""

    def __init__(self, address: str, port: int) -> None:
        self._listener = socket.create_server((address, 0))
        self._port = port
        self.port = self._listener.getsockname()[1]
        self.delay = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                time.sleep(self.delay)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@dataclass
class NetworkHost:
    """One host.

    Attributes:
        name: Its host name.
        namespace: Of its network.
        cable: The near end of its virtual cable; the host has the far one.
        near: The address of the near end, the only one that the host can reach.
        relays: The ways to servers of this machine, by port.
        processes: The first process of each process table: one for each start of the host.
    """

    name: str
    namespace: str
    cable: str
    near: str
    relays: dict[int, Relay] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def reach(self, port: int) -> int:
        """The port of :attr:`near` at which this host reaches the server at ``port`` of this machine's loopback."""
        if port not in self.relays:
            self.relays[port] = Relay(self.near, port)
        return self.relays[port].port

    def slow_down(self, seconds: float) -> None:
        """Let each piece of data take ``seconds`` longer."""
        for relay in self.relays.values():
            relay.delay = seconds

    def start(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        """Run ``command`` in a process table of its own, as after the start of a machine."""
        isolated = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", *command]
        root = str(Path(dobby_dagster.__file__).parents[1])
        with log.open("ab") as out:
            self.processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.namespace, *isolated],
                    env={**os.environ, "PYTHONPATH": root, "HOST_NAME": self.name, **environment},
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def kill(self) -> None:
        """Every process of the host dies at once, as when its power fails."""
        for process in self.processes:
            process.kill()
            process.wait()

    def suspend(self) -> None:
        """Stop every process of the host until :meth:`resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let every process of the host go on."""
        self._signal(signal.SIGCONT)

    def unplug(self) -> None:
        """Cut the host off: packets get lost without an answer."""
        _ip("link", "set", self.cable, "down")

    def plug_in(self) -> None:
        """Join the host again."""
        _ip("link", "set", self.cable, "up")

    def _signal(self, number: int) -> None:
        for process in self.processes:
            with suppress(psutil.Error):
                for one in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        one.send_signal(number)


@contextmanager
def hosts(names: list[str]) -> Iterator[list[NetworkHost]]:
    """Hosts that reach the near ends of their cables, and nothing else."""
    made: list[NetworkHost] = []
    try:
        for number, name in enumerate(names, 1):
            made.append(_host(number, name))
        yield made
    finally:
        for host in made:
            host.kill()
            for relay in host.relays.values():
                relay.close()
        for number, _ in enumerate(names, 1):
            names_ = _names(number)
            for words in (("netns", "delete", names_[0]), ("link", "delete", names_[1])):
                subprocess.run(["ip", *words], capture_output=True, check=False)


def _names(number: int) -> tuple[str, str, str]:
    short = f"{os.getpid() % 100_000}x{number}"
    return f"dobby{short}", f"dby{short}a", f"dby{short}b"


def _host(number: int, name: str) -> NetworkHost:
    namespace, near, far = _names(number)
    net = f"10.{64 + os.getpid() // 32 % 64}.{os.getpid() % 32 * 8 + number}"  # of this process, for up to seven hosts
    _ip("netns", "add", namespace)
    _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
    _ip("addr", "add", f"{net}.1/24", "dev", near)
    _ip("link", "set", near, "up")
    for words in (("addr", "add", f"{net}.2/24", "dev", far), ("link", "set", far, "up"), ("link", "set", "lo", "up")):
        _ip("-n", namespace, *words)
    return NetworkHost(name, namespace, near, f"{net}.1")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
