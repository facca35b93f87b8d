"""Plots of the work over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dobby_dagster.pipeline.reporting.plot_axes import Plot, plot_axes, range_text, top_of
from dobby_dagster.pipeline.reporting.themed_svg import FIRST, LINE, MUTED, SECOND
from dobby_dagster.pipeline.reporting.work_timeline import Numbers, WorkTimeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More pauses than these are not drawn.
PAUSES = 30
_UNITS = ((10_800.0, 3_600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def throughput(timeline: WorkTimeline) -> Plot:
    """Records inferred a minute over working time."""
    rate = timeline.rate * 60
    plot = Plot("throughput", "Throughput", f"Records inferred a minute over working time: {range_text(rate, ',.0f')}")
    with plot_axes(plot, "records a minute") as axes:
        _over_time(axes, timeline)
        axes.stairs(rate, _scaled(timeline)[0], fill=True, color=FIRST, alpha=0.18)
        axes.stairs(rate, _scaled(timeline)[0], color=FIRST, linewidth=1.4)
        axes.set_ylim(0, top_of(rate))
    return plot


def latency(timeline: WorkTimeline) -> Plot:
    """Median and 95th percentile of the seconds of inference of a record, over working time."""
    p50, p95 = timeline.latency_p50 * 1_000, timeline.latency_p95 * 1_000
    label = f"Milliseconds of inference a record over working time. Median: {range_text(p50)}"
    plot = Plot("latency", "Latency", f"{label}. 95th percentile: {range_text(p95)}")
    with plot_axes(plot, "milliseconds a record") as axes:
        _over_time(axes, timeline)
        _line(axes, timeline, p50, FIRST, "median")
        _line(axes, timeline, p95, SECOND, "95 %", dashed=True)
        axes.set_ylim(0, top_of(p95))
    return plot


def memory(timeline: WorkTimeline) -> Plot:
    """The largest resident memory over working time."""
    gigabytes = timeline.memory / 1e9
    plot = Plot("memory", "Memory", f"Resident memory in gigabytes over working time: {range_text(gigabytes, '.2f')}")
    with plot_axes(plot, "gigabytes") as axes:
        _over_time(axes, timeline)
        _line(axes, timeline, gigabytes, FIRST)
        axes.set_ylim(0, top_of(gigabytes))
    return plot


def slots(timeline: WorkTimeline) -> Plot:
    """Slots in use over working time, below their number."""
    used = timeline.slots_in_use
    label = f"Slots in use over working time, of {timeline.slots}: {range_text(used, '.0f')}"
    plot = Plot("slots", "Slots in use", label)
    with plot_axes(plot, "slots") as axes:
        _over_time(axes, timeline)
        _line(axes, timeline, used, FIRST)
        if timeline.slots:
            axes.axhline(timeline.slots, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.annotate(
                "all", (1, timeline.slots), (4, 0), ("axes fraction", "data"), "offset points", va="center", color=MUTED
            )
        axes.set_ylim(0, top_of(np.append(used, timeline.slots or np.nan)))
    return plot


def _scaled(timeline: WorkTimeline) -> tuple[Numbers, float, str]:
    """The edges in a unit that reads well, seconds in that unit, and its name."""
    unit, name = next((unit, name) for least, unit, name in _UNITS if timeline.seconds >= least)
    return timeline.edges / unit, unit, name


def _over_time(axes: Axes, timeline: WorkTimeline) -> None:
    edges, unit, name = _scaled(timeline)
    axes.set(xlim=(0, edges[-1]), xlabel=f"{name} of work")
    for pause in timeline.pauses if len(timeline.pauses) <= PAUSES else ():
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
