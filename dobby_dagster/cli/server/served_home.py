"""Which processes serve a DAGSTER_HOME, as its file ``served.json`` says."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dobby_dagster.domain.atomic_file import replacing
from dobby_dagster.domain.filesystem import PRIVATE_FILE
from dobby_dagster.domain.owner import is_alive, on_this_host, pid_of

KILL_SECONDS = 10.0
# A file that its supervisor has not touched for this long is of one that is dead.
FRESH_SECONDS = 30.0


@dataclass
class ServedHome:
    """The processes that serve a DAGSTER_HOME.

    Attributes:
        path: The file.
        supervisor: The ``dobby dev`` that writes the file, as an owner; empty for none.
        url: Of the Dagster UI.
        monitor: URL of health and metrics.
        children: The services that it started, as owners, by name.
    """

    path: Path
    supervisor: str = ""
    url: str = ""
    monitor: str = ""
    children: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, home: Path) -> ServedHome:
        """What the file in ``home`` says; no processes if it is missing or can't be read."""
        path = home / "served.json"
        try:
            values = json.loads(path.read_text())
            if isinstance(values["children"], list):  # of an earlier version
                values["children"] = {owner: owner for owner in values["children"]}
            return cls(path, **values)
        except (OSError, ValueError, TypeError, KeyError):
            return cls(path)

    @property
    def is_running(self) -> bool:
        """Whether the supervisor is alive; one on another host, such as an earlier container, if the file is fresh."""
        if not self.supervisor or on_this_host(self.supervisor):
            return bool(self.supervisor) and is_alive(self.supervisor, time.time())
        try:
            return time.time() - self.path.stat().st_mtime < FRESH_SECONDS
        except OSError:
            return False

    def refresh(self) -> None:
        """Say, for other hosts, that the supervisor is alive."""
        with suppress(OSError):
            if time.time() - self.path.stat().st_mtime > FRESH_SECONDS / 4:
                os.utime(self.path)

    def write(self) -> None:
        """Replace the file atomically."""
        values = {
            "supervisor": self.supervisor, "url": self.url, "monitor": self.monitor, "children": self.children
        }  # fmt: skip
        with replacing(self.path, mode=PRIVATE_FILE) as draft:
            draft.write_text(json.dumps(values))

    def end_orphans(self) -> int:
        """Kill the services of a supervisor that was killed, since two daemons must not share a DAGSTER_HOME.

        Returns:
            How many there were.
        """
        alive: list[psutil.Process] = []
        for owner in self.children.values():
            if on_this_host(owner) and is_alive(owner, time.time()):
                with suppress(psutil.Error):
                    alive.append(psutil.Process(pid_of(owner)))
                    alive[-1].kill()
        psutil.wait_procs(alive, timeout=KILL_SECONDS)  # until then they hold the port
        return len(alive)
