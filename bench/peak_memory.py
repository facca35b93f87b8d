"""The memory of a process that is measured."""

from __future__ import annotations

import subprocess
import time

import psutil


def peak_memory(process: subprocess.Popen[bytes], interval: float) -> int:
    """The highest resident memory of ``process`` in bytes, read every ``interval`` seconds until it ends."""
    peak = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(interval)
    process.wait()
    return peak
