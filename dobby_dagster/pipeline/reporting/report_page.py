"""A report as one HTML page that loads nothing: no script, no image, no font, no address.

Everything in it that comes from a record, a model or a server is untrusted. It is escaped twice, both for all
expressions of the template at once: invisible characters become escapes, then HTML's own characters entities. Should
that ever fail, the page's content security policy allows nothing but its own style sheet.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dobby_dagster import __version__
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable, shortened
from dobby_dagster.domain.states import State
from dobby_dagster.pipeline.reporting import confidence_plots, timeline_plots
from dobby_dagster.pipeline.reporting.figure_text import duration, figure, moment, share
from dobby_dagster.pipeline.reporting.plot_axes import Plot
from dobby_dagster.pipeline.reporting.report_figures import ReportFigures
from dobby_dagster.pipeline.reporting.report_texts import (
    ReportSubject,
    about,
    confidence_lines,
    key_figures,
    notices,
    subtitle,
)

RUNS = 12
# By state, in the order of the table.
_COLOURS = {
    State.COMPLETED: "good",
    State.FAILED: "bad",
    State.SKIPPED: "quiet",
    State.PENDING: "quiet",
    State.IN_PROGRESS: "first",
}
_SECTIONS = (
    ("records", "Records"), ("speed", "Speed"), ("tokens", "Tokens"), ("confidence", "Confidence"),
    ("failures", "Failures"), ("contracts", "Contracts"), ("doubtful", "Least confident"), ("sample", "Sample"),
)  # fmt: skip


def report_page(figures: ReportFigures, subject: ReportSubject) -> str:
    """The page; it has no lone surrogate, so that it can be encoded in UTF-8."""
    folder = files("dobby_dagster.pipeline.reporting") / "page"
    style = (folder / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = _environment().from_string((folder / "report.html.jinja").read_text(encoding="utf-8"))
    timeline, tally = figures.timeline, figures.tally
    runs = timeline.runs[::-1][:RUNS]
    return template.render(
        figures=figures,
        tally=tally,
        timeline=timeline,
        version=__version__,
        style=Markup(style),  # noqa: S704 - ours
        style_hash=Markup(f"sha256-{digest}"),  # noqa: S704
        heading="Dobby report",
        subtitle=subtitle(figures),
        about=about(figures, subject),
        sections=_SECTIONS,
        notices=notices(figures),
        key_figures=key_figures(figures),
        states=[
            (s.value.replace("_", " "), tally.states[s], share(tally.states[s], tally.records), _COLOURS[s])
            for s in _COLOURS
        ],
        recipes=subject.recipes,
        timeline_plots=_timeline_plots(figures),
        runs=runs,
        runs_caption=f"The last {len(runs)} of {len(timeline.runs):,} runs"
        if len(timeline.runs) > len(runs)
        else "Runs",
        confidence_plots=_confidence_plots(figures, subject),
        confidence_lines=list(confidence_lines(figures, subject)),
        failures=sorted(tally.failures.items(), key=lambda item: -item[1].count),
    )


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, finalize=_visible
    )
    environment.filters |= {
        "short": shortened, "figure": figure, "thousands": "{:,}".format, "moment": moment, "duration": duration,
        "counted": counted,
        "confidence": shown_confidence,
    }  # fmt: skip
    return environment


def _visible(value: Any) -> Any:
    """``value`` as the template writes it: text that is not ours has no invisible character left."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value, lines=True)


def _timeline_plots(figures: ReportFigures) -> list[Plot]:
    timeline = figures.timeline
    if not timeline.inferred:
        return []
    drawn = (timeline_plots.throughput, timeline_plots.latency, timeline_plots.memory, timeline_plots.slots)
    return [plot(timeline) for plot in drawn]


def _confidence_plots(figures: ReportFigures, subject: ReportSubject) -> list[Plot]:
    plots = [confidence_plots.confidence(figures.tally, subject.unsure_below)] if figures.tally.confidence.known else []
    measured = subject.evidence.reliability
    return [*plots, confidence_plots.reliability(measured.bins)] if measured and plots else plots
