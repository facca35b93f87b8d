"""Pictures: the engine's throughput, times and cost by prompt length; its scaling; and what a soak saw over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

SHOWN_SENSORS = ("new_records", "recovery", "retry_failed")
SHOWN_STATES = ("records", "completed", "pending", "in_progress", "failed", "skipped", "waiting")


def plot(slots: Sequence[Mapping[str, float]], lengths: Sequence[Mapping[str, float]], target: Path) -> None:
    """Write the picture of what :func:`bench.engine.over_slots` and ``by_prompt_length`` gave."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (speed, times, cost) = plt.subplots(1, 3, figsize=(13, 3.8), constrained_layout=True)
    counts = [row["slots"] for row in slots]
    speed.plot(counts, [row["records a minute"] for row in slots], marker="o")
    speed.set(title="Throughput", xlabel="slots", ylabel="records a minute", ylim=(0, None))
    for name in ("ms a record, p50", "p95", "p99"):
        times.plot(counts, [row[name] for row in slots], marker="o", label=name.removeprefix("ms a record, "))
    times.set(title="A record's share of the time", xlabel="slots", ylabel="ms", yscale="log")
    times.legend()
    for axes in (speed, times):
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(int(count)) for count in counts])
    names = [f"{row['prompt tokens, from']} to {row['to']}" for row in lengths]
    places = range(len(names))
    for name, shift in (("ms alone, median", -0.2), ("ms among 128", 0.2)):
        cost.bar([place + shift for place in places], [row[name] for row in lengths], 0.4, label=name)
    cost.set(title="Cost by prompt length", xlabel="prompt tokens", ylabel="ms a record", yscale="log")
    cost.set_xticks(list(places), names)
    cost.legend()
    for axes in (speed, times, cost):
        axes.grid(alpha=0.3)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def plot_soak(
    samples: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    chunks: Sequence[tuple[float, int]],
    began: float,
    target: Path,
) -> None:
    """Write what :mod:`bench.soak` saw over time, as SVG and PNG; kills are dotted lines, changes of recipe full ones.

    Args:
        samples: As its sampler writes them.
        events: What was done to the system.
        chunks: When each was committed, and its records.
        began: The first moment, in seconds since the epoch.
        target: The picture, without an ending.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    def minutes(at: float) -> float:
        return (at - began) / 60

    looked = [(minutes(sample["at"]), sample) for sample in samples]
    memory = [(at, _by_kind(sample["processes"], "uss", 1e6)) for at, sample in looked if "processes" in sample]
    descriptors = [(at, _by_kind(sample["processes"], "descriptors")) for at, sample in looked if "processes" in sample]
    disk = [(at, {name: size / 1e6 for name, size in s["disk"].items()}) for at, s in looked if "disk" in s]
    ticks = _a_minute(
        (at, name, count)
        for at, sample in looked
        for name, count in sample.get("ticks", {}).items()
        if name.startswith(SHOWN_SENSORS)
    )
    states = [(at, {name: s["records"][name] for name in SHOWN_STATES}) for at, s in looked if "records" in s]
    commits = _a_minute((minutes(at), "committed", ended) for at, ended in chunks)
    figure, grid = plt.subplots(3, 2, figsize=(13, 11), constrained_layout=True, sharex=True)
    for axes, rows, title, unit in zip(
        grid.flat,
        (memory, descriptors, disk, ticks, states, commits),
        ("Memory (USS)", "Open descriptors", "Database and DAGSTER_HOME", "Ticks a minute",
         "Records by state, under the recipe in use", "Records committed a minute"),
        ("MB", "descriptors", "MB", "ticks", "records", "records"),
        strict=True,
    ):  # fmt: skip
        for name in dict.fromkeys(name for _, row in rows for name in row):
            seen = [row.get(name, math.nan) for _, row in rows]  # a gap where there was none of it
            axes.plot([at for at, _ in rows], seen, label=name, marker=".", markersize=2, linewidth=1)
        for event in events:
            if event["event"] in ("change of recipe",) or event.get("pids"):
                change = not event["pids"]
                style, width = ("-", 1.2) if change else (":", 0.7)
                axes.axvline(minutes(event["at"]), color="tab:red", linewidth=width, linestyle=style, alpha=0.6)
        axes.set(title=title, ylabel=unit, ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper left")
    for axes in grid[-1]:
        axes.set_xlabel("minutes")
    target.parent.mkdir(parents=True, exist_ok=True)
    for ending in (".svg", ".png"):
        figure.savefig(target.with_suffix(ending), dpi=110)
    plt.close(figure)


def _by_kind(processes: Sequence[Mapping[str, Any]], measure: str, scale: float = 1) -> dict[str, float]:
    found: dict[str, float] = {}
    for process in processes:
        found[process["kind"]] = found.get(process["kind"], 0) + process[measure] / scale
    return found


def _a_minute(counts: Iterable[tuple[float, str, float]]) -> list[tuple[float, dict[str, float]]]:
    """Sums by minute and name."""
    sums: dict[float, dict[str, float]] = {}
    for at, name, count in counts:
        minute = sums.setdefault(float(int(at)), {})
        minute[name] = minute.get(name, 0) + count
    return sorted(sums.items())


def plot_scaling(by_latency: Mapping[float, Sequence[Mapping[str, float]]], target: Path) -> None:
    """Write the picture of what :func:`bench.scaling.over_requests` gave, beside the ideal line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), constrained_layout=True)
    for latency, rows in by_latency.items():
        counts = [row["requests in progress"] for row in rows]
        [line] = axes.plot(
            counts, [row["records a minute"] for row in rows], marker="o", label=f"{latency:g} s a request"
        )
        axes.plot(counts, [row["ideal"] for row in rows], linestyle="--", color=line.get_color(), label="ideal")
    axes.set(xlabel="requests in progress", ylabel="records a minute", yscale="log")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(int(count)) for count in counts])
    axes.grid(alpha=0.3)
    axes.legend()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    plt.close(figure)
