"""The plots of a report, as SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.inference.optional_packages import missing
from dobby_dagster.pipeline.reporting.record_tally import RecordTally
from dobby_dagster.pipeline.reporting.themed_svg import FIRST, LINE, MUTED, SECOND, STYLE, themed_svg
from dobby_dagster.pipeline.reporting.work_timeline import Numbers, WorkTimeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dobby_dagster.inference.models.reliability import ReliabilityBin

SIZE = (4.5, 2.4)
_UNITS = ((10_800.0, 3_600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass
class Plot:
    """A plot of the page.

    Attributes:
        name: Unique in the page.
        title: Its heading.
        label: What it shows, in words.
        svg: The picture.
    """

    name: str
    title: str
    label: str
    svg: str = field(default="", repr=False)


def require_plots() -> None:
    """Check that plots can be drawn.

    Raises:
        SettingsError: A package is missing.
    """
    if reason := missing("matplotlib"):
        raise SettingsError(f"a report has plots, and {reason}")


def throughput(timeline: WorkTimeline) -> Plot:
    """Records inferred a minute over working time."""
    rate = timeline.rate * 60
    plot = Plot("throughput", "Throughput", f"Records inferred a minute over working time: {_range(rate, ',.0f')}")
    with _axes(plot, "records a minute") as axes:
        _over_time(axes, timeline)
        axes.stairs(rate, _scaled(timeline)[0], fill=True, color=FIRST, alpha=0.18)
        axes.stairs(rate, _scaled(timeline)[0], color=FIRST, linewidth=1.4)
        axes.set_ylim(0, _top(rate))
    return plot


def latency(timeline: WorkTimeline) -> Plot:
    """Median and 95th percentile of the seconds of inference of a record, over working time."""
    p50, p95 = timeline.latency_p50 * 1_000, timeline.latency_p95 * 1_000
    label = (
        f"Milliseconds of inference a record over working time. Median: {_range(p50)}. 95th percentile: {_range(p95)}"
    )
    plot = Plot("latency", "Latency", label)
    with _axes(plot, "milliseconds a record") as axes:
        _over_time(axes, timeline)
        _line(axes, timeline, p50, FIRST, "median")
        _line(axes, timeline, p95, SECOND, "95 %", dashed=True)
        axes.set_ylim(0, _top(p95))
    return plot


def memory(timeline: WorkTimeline) -> Plot:
    """The largest resident memory over working time."""
    gigabytes = timeline.memory / 1e9
    plot = Plot("memory", "Memory", f"Resident memory in gigabytes over working time: {_range(gigabytes, '.2f')}")
    with _axes(plot, "gigabytes") as axes:
        _over_time(axes, timeline)
        _line(axes, timeline, gigabytes, FIRST)
        axes.set_ylim(0, _top(gigabytes))
    return plot


def slots(timeline: WorkTimeline) -> Plot:
    """Slots in use over working time, below their number."""
    used = timeline.slots_in_use
    label = f"Slots in use over working time, of {timeline.slots}: {_range(used, '.0f')}"
    plot = Plot("slots", "Slots in use", label)
    with _axes(plot, "slots") as axes:
        _over_time(axes, timeline)
        _line(axes, timeline, used, FIRST)
        if timeline.slots:
            axes.axhline(timeline.slots, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.annotate(
                "all", (1, timeline.slots), (4, 0), ("axes fraction", "data"), "offset points", va="center", color=MUTED
            )
        axes.set_ylim(0, _top(np.append(used, timeline.slots or np.nan)))
    return plot


def confidence(tally: RecordTally, unsure_below: float) -> Plot:
    """How many summaries have which confidence."""
    counts = tally.confidence_bins
    edges = np.linspace(0, 1, len(counts) + 1)
    unsure = edges[1:] <= unsure_below + 1e-9
    low, high = int(counts[: len(counts) // 2].sum()), int(counts[len(counts) // 2 :].sum())
    label = f"Summaries by confidence: {low:,} below 0.5, {high:,} at or above; {tally.doubts.unsure:,} unsure"
    plot = Plot("confidence", "Distribution of the confidence", label)
    with _axes(plot, "summaries") as axes:
        axes.bar(
            edges[:-1],
            counts,
            1 / len(counts),
            align="edge",
            color=[SECOND if u else FIRST for u in unsure],
            alpha=0.75,
        )
        axes.set(xlim=(0, 1), ylim=(0, _top(counts.astype(float))), xlabel="confidence")
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
    with _axes(plot, "share that agrees") as axes:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate("ideal", (0.86, 0.86), (0, -10), textcoords="offset points", color=MUTED)
        axes.plot([b.confidence for b in bins], [b.agree for b in bins], "o-", color=FIRST, markersize=3.5)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="confidence", yticks=(0, 0.25, 0.5, 0.75, 1))
    return plot


@contextmanager
def _axes(plot: Plot, unit: str) -> Iterator[Axes]:
    """Axes to draw on; the unit of the vertical axis stands above it, where it reads horizontally."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_title(unit, color=MUTED)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        yield axes
        plot.svg = themed_svg(figure, plot.name, plot.label)


def _scaled(timeline: WorkTimeline) -> tuple[Numbers, float, str]:
    """The edges in a unit that reads well, seconds in that unit, and its name."""
    unit, name = next((unit, name) for least, unit, name in _UNITS if timeline.seconds >= least)
    return timeline.edges / unit, unit, name


def _over_time(axes: Axes, timeline: WorkTimeline) -> None:
    edges, unit, name = _scaled(timeline)
    axes.set(xlim=(0, edges[-1]), xlabel=f"{name} of work")
    for pause in timeline.pauses:
        axes.axvline(pause / unit, color=LINE, linewidth=0.8, linestyle=(0, (2, 2)))


def _line(
    axes: Axes, timeline: WorkTimeline, values: Numbers, colour: str, name: str = "", *, dashed: bool = False
) -> None:
    edges, _, _ = _scaled(timeline)
    known = ~np.isnan(values)
    centres = ((edges[1:] + edges[:-1]) / 2)[known]
    marker = "o" if known.sum() == 1 else ""
    axes.plot(centres, values[known], color=colour, marker=marker, linestyle=(0, (5, 2)) if dashed else "-")
    if name and len(centres):
        axes.annotate(
            name, (1, values[known][-1]), (4, 0), ("axes fraction", "data"), "offset points", va="center", color=colour
        )


def _top(values: Numbers) -> float:
    largest = float(np.nanmax(values)) if np.any(~np.isnan(values)) else 0.0
    return largest * 1.12 or 1.0


def _range(values: Numbers, style: str = ".3g") -> str:
    known = values[~np.isnan(values)]
    if not len(known):
        return "unknown"
    return f"{known.min():{style}} to {known.max():{style}}, {known.mean():{style}} on average"
