"""Who works on a record, and whether it still runs: known later, and from another process."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass

import psutil

from dobby_dagster.domain.host import Host, this_host
from dobby_dagster.domain.scope import OwnerId

# How long an owner counts as alive that can't be looked up and that nobody ever saw renew its claims.
UNKNOWN_OWNER_SECONDS = 3_600.0
START_TOLERANCE_SECONDS = 0.05

_active: set[OwnerId] = set()
_guard = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_active.clear)  # they are the parent's: it may die before this process does


@dataclass(frozen=True, slots=True)
class Renewal:
    """When an owner last said that it still works, all in seconds of the database's clock.

    Attributes:
        at: When that was.
        seconds: How long its claims are valid from then on.
        age: How long ago that was, when this was read.

    >>> Renewal(100.0, 30.0, 29.0).is_valid, Renewal(100.0, 30.0, 31.0).is_valid
    (True, False)
    """

    at: float
    seconds: float
    age: float

    @property
    def is_valid(self) -> bool:
        """Whether the owner's claims were valid when this was read."""
        return self.age <= self.seconds


def new_owner() -> OwnerId:
    """A new owner of this process: ``host/pid/start/token``; it lives until :func:`retire` or the process ends.

    The host is a :class:`~dobby_dagster.domain.host.Host` as text.
    """
    owner = owner_of(os.getpid())
    with _guard:
        _active.add(owner)
    return owner


def owner_of(pid: int) -> OwnerId:
    """An owner of the process ``pid``.

    Raises:
        psutil.Error: There is no such process.
    """
    return OwnerId(f"{this_host()}/{pid}/{started(pid):.2f}/{uuid.uuid4().hex[:12]}")


def started(pid: int) -> float:
    """When the process started, in seconds since the machine booted: independent of changes of the clock.

    Raises:
        psutil.Error: There is no such process.
    """
    booted = psutil.boot_time()
    return float(psutil.Process(pid).create_time() - booted)


def retire(owner: OwnerId) -> None:
    """Declare that ``owner`` has stopped working."""
    with _guard:
        _active.discard(owner)


def pid_of(owner: str) -> int:
    """The process of ``owner``, on its host.

    Raises:
        ValueError: ``owner`` is malformed.
    """
    return int(owner.rsplit("/", 3)[1])


def host_of(owner: str) -> Host:
    """The host of ``owner``."""
    return Host.parse(owner.rsplit("/", 3)[0])


def on_this_host(owner: str) -> bool:
    """Whether ``owner`` is a process that can be looked up here."""
    return host_of(owner).is_this()


def is_alive(owner: str, claimed_at: float, renewal: Renewal | None = None) -> bool:
    """Whether ``owner`` still works.

    On this host the process is looked up, by pid and start; one that has ended and whose exit status was not collected
    (a zombie) is dead. An owner on another host can't be looked up: it lives as long as it renews its claims. If it is
    not known to have renewed any, it counts as alive for an hour after ``claimed_at``.

    Args:
        owner: See :func:`new_owner`.
        claimed_at: Seconds since the epoch.
        renewal: The last one of this owner.
    """
    if owner in _active:
        return True
    try:
        host, number, began, _ = owner.rsplit("/", 3)
        if not Host.parse(host).is_this():
            return renewal.is_valid if renewal else time.time() - claimed_at < UNKNOWN_OWNER_SECONDS
        pid = int(number)
        return pid != os.getpid() and abs(started(pid) - float(began)) < START_TOLERANCE_SECONDS and not _ended(pid)
    except (ValueError, OverflowError, psutil.Error):
        return False


def reap(kept: Collection[int] = ()) -> None:
    """Collect the exit status of dead children that no other code waits for.

    The first process of a container inherits every orphan, which stays a zombie until its status is collected.

    Args:
        kept: Children that other code waits for, by pid; they are left to it.
    """
    if not hasattr(os, "waitid"):
        return
    while (ended := _ended_child()) and ended not in kept:
        os.waitpid(ended, 0)


def _ended(pid: int) -> bool:
    """Whether the process has ended, and only its exit status is still to be collected."""
    return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def _ended_child() -> int:
    """The pid of a child that has ended, not yet collected; 0 if there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0
