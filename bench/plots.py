"""A picture of the engine's figures: throughput and a record's time over slots, and its cost by prompt length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


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
