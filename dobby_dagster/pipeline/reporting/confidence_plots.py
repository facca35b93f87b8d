"""Plots of the confidence: its distribution, and its reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dobby_dagster.pipeline.reporting.plot_axes import Plot, plot_axes, top_of
from dobby_dagster.pipeline.reporting.record_tally import RecordTally
from dobby_dagster.pipeline.reporting.themed_svg import FIRST, MUTED, SECOND

if TYPE_CHECKING:
    from dobby_dagster.inference.models.reliability import ReliabilityBin


def confidence(tally: RecordTally, unsure_below: float) -> Plot:
    """How many summaries have which confidence."""
    counts = tally.confidence_bins
    edges = np.linspace(0, 1, len(counts) + 1)
    unsure = edges[1:] <= unsure_below + 1e-9
    low, high = int(counts[: len(counts) // 2].sum()), int(counts[len(counts) // 2 :].sum())
    label = f"Summaries by confidence: {low:,} below 0.5, {high:,} at or above; {tally.doubts.unsure:,} unsure"
    plot = Plot("confidence", "Distribution of the confidence", label)
    with plot_axes(plot, "summaries") as axes:
        axes.bar(
            edges[:-1],
            counts,
            1 / len(counts),
            align="edge",
            color=[SECOND if u else FIRST for u in unsure],
            alpha=0.75,
        )
        axes.set(xlim=(0, 1), ylim=(0, top_of(counts.astype(float))), xlabel="confidence")
        axes.axvline(unsure_below, color=SECOND, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"unsure below {unsure_below:g}",
            (unsure_below, 1),
            (4, -8),
            ("data", "axes fraction"),
            "offset points",
            color=SECOND,
        )
    return plot


def reliability(bins: Sequence[ReliabilityBin]) -> Plot:
    """How often summaries of like confidence were right when the model was evaluated."""
    points = ", ".join(f"{b.confidence:.2f} to {b.agree:.2f}" for b in bins)
    plot = Plot(
        "reliability", "Reliability, when the model was evaluated", f"Mean confidence to share that agrees: {points}"
    )
    with plot_axes(plot, "share that agrees") as axes:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate("ideal", (0.86, 0.86), (0, -10), textcoords="offset points", color=MUTED)
        axes.plot([b.confidence for b in bins], [b.agree for b in bins], "o-", color=FIRST, markersize=3.5)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="confidence", yticks=(0, 0.25, 0.5, 0.75, 1))
    return plot
