"""Whether processes are alive and running."""

from __future__ import annotations

import time

import psutil

from dobby_dagster.domain.owner import is_alive, pid_of
from dobby_dagster.monitor.part_check import PartError


def require_running(owner: str) -> str:
    """Check one process.

    Args:
        owner: See :mod:`dobby_dagster.domain.owner`.

    Raises:
        PartError: It has ended, or was stopped by a signal.
    """
    if not is_alive(owner, time.time()):
        raise PartError(f"process {pid_of(owner)} has ended")
    try:
        stopped = psutil.Process(pid_of(owner)).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        raise PartError(f"process {pid_of(owner)} has ended") from None
    if stopped:
        raise PartError(f"process {pid_of(owner)} is stopped by a signal", hint=f"kill -CONT {pid_of(owner)}")
    return f"process {pid_of(owner)} runs"
