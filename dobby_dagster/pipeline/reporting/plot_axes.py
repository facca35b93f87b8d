"""What the plots of a report share: axes to draw on, and their size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.inference.optional_packages import missing
from dobby_dagster.pipeline.reporting.themed_svg import MUTED, STYLE, themed_svg
from dobby_dagster.pipeline.reporting.work_timeline import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.5, 2.4)


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


@contextmanager
def plot_axes(plot: Plot, unit: str) -> Iterator[Axes]:
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


def top_of(values: Numbers) -> float:
    """The upper end of an axis for ``values``, of which some may be NaN."""
    largest = float(np.nanmax(values)) if np.any(~np.isnan(values)) else 0.0
    return largest * 1.12 or 1.0


def range_text(values: Numbers, style: str = ".3g") -> str:
    """The range and the mean of the values that are not NaN, in words.

    >>> range_text(np.array([1.0, np.nan, 3.0])), range_text(np.array([np.nan]))
    ('1 to 3, 2 on average', 'unknown')
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return "unknown"
    return f"{known.min():{style}} to {known.max():{style}}, {known.mean():{style}} on average"
