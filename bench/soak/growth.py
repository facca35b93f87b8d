"""Whether the memory and the descriptors of the processes grow while nothing is killed."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

from bench.soak.timeline import BUSY_TO, LAST_KILL

MEASURES = ("uss", "rss", "descriptors", "threads")


def growth(samples: list[dict[str, Any]], began: float, minutes: float) -> list[dict[str, Any]]:
    """For each process that lived through the quiet part of the run: medians of its first and its last quarter."""
    begin, end = (began + minutes * 60 * share for share in (BUSY_TO, LAST_KILL))
    quiet = [sample for sample in samples if begin <= sample["at"] <= end]
    lived: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for sample in quiet:
        for process in sample.get("processes", []):
            lived[process["kind"], process["pid"]].append(process)
    rows = []
    for (kind, pid), seen in lived.items():
        if len(seen) < 0.9 * len(quiet) or len(seen) < 4:
            continue
        quarter = len(seen) // 4
        row: dict[str, Any] = {"process": kind, "pid": pid, "minutes": round((end - begin) / 60, 1)}
        for name in MEASURES:
            row[name] = [median(p[name] for p in part) for part in (seen[:quarter], seen[-quarter:])]
        rows.append(row)
    return rows
