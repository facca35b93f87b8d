"""Which host this is: where the processes are that this one can look up by pid.

A host's name does not identify it: containers share names such as ``localhost``, and the pods of Kubernetes use them
again. The boot of the kernel and the PID namespace do.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"


@dataclass(frozen=True, slots=True)
class Host:
    """A host.

    Attributes:
        name: Its name; another host may have the same.
        boot: Identifies the boot of its kernel; the same in all containers of a machine.
        processes: Identifies the process table: of a container, its PID namespace; empty where there are none.

    >>> str(Host("web-1", "0a1b2c3d", "4026531836")), Host.parse("web-1@0a1b2c3d.4026531836").boot
    ('web-1@0a1b2c3d.4026531836', '0a1b2c3d')
    """

    name: str
    boot: str
    processes: str

    def __str__(self) -> str:
        return f"{self.name}@{self.boot}.{self.processes}"

    @classmethod
    def parse(cls, text: str) -> Host:
        """The host that ``text`` names; one that an earlier version of Dobby wrote is a name only."""
        name, _, identity = text.rpartition("@")
        boot, _, processes = identity.partition(".")
        return cls(name, boot, processes) if name else cls(text, "", "")

    def is_this(self) -> bool:
        """Whether the processes of that host can be looked up here; by its name where only that is known."""
        here = this_host()
        return (self.boot, self.processes) == (here.boot, here.processes) if self.boot else self.name == here.name


def this_host() -> Host:
    """The host of this process."""
    return Host(socket.gethostname(), _boot(), _process_table())


@functools.cache
def _boot() -> str:
    """Eight hexadecimal digits that change when the machine starts again."""
    return hashlib.sha256(_boot_session().encode()).hexdigest()[:8]


def _boot_session() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        if sys.platform == "darwin":
            asked = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
        return socket.gethostname()  # no better identity is known here


def _process_table() -> str:
    """The number of the PID namespace; a process that forks into another one has another."""
    try:
        return os.readlink(_PID_NAMESPACE).strip("pid:[]")
    except OSError:
        return ""
