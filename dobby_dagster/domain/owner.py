"""Who works on a record: enough to know, later and from another process, whether he still lives."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid

import psutil

FOREIGN_HOST_PATIENCE_SECONDS = 3_600.0
START_TOLERANCE_SECONDS = 0.05

_active: set[str] = set()
_guard = threading.Lock()


def new_owner() -> str:
    """A new owner of this process: ``host/pid/start/token``. It lives until :func:`retire` or the process ends."""
    owner = owner_of(os.getpid())
    with _guard:
        _active.add(owner)
    return owner


def owner_of(pid: int) -> str:
    """An owner of the process ``pid``.

    Raises:
        psutil.Error: There is no such process.
    """
    return f"{socket.gethostname()}/{pid}/{started(pid):.2f}/{uuid.uuid4().hex[:12]}"


def started(pid: int) -> float:
    """When the process began, in seconds since the machine did: that stays the same when the clock is set.

    Raises:
        psutil.Error: There is no such process.
    """
    booted = psutil.boot_time()
    return float(psutil.Process(pid).create_time() - booted)


def retire(owner: str) -> None:
    """Declare that ``owner`` has stopped working."""
    with _guard:
        _active.discard(owner)


def on_this_host(owner: str) -> bool:
    """Whether ``owner`` can be looked up here."""
    return owner.partition("/")[0] == socket.gethostname()


def is_alive(owner: str, claimed_at: float) -> bool:
    """Whether ``owner`` still works.

    On this host the process is looked up, by pid and start. An owner on another host can't be
    looked up: he counts as alive for an hour after ``claimed_at`` (seconds since the epoch).
    """
    if owner in _active:
        return True
    try:
        host, pid, began, _ = owner.rsplit("/", 3)
        if host != socket.gethostname():
            return time.time() - claimed_at < FOREIGN_HOST_PATIENCE_SECONDS
        if int(pid) == os.getpid():
            return False
        return abs(started(int(pid)) - float(began)) < START_TOLERANCE_SECONDS
    except (ValueError, psutil.Error):
        return False
