"""A report as one HTML page that loads nothing: no script, no image, no font, no address.

Everything in it that comes from a record, a model or a server is untrusted. It is escaped twice, both for all
expressions of the template at once: invisible characters become escapes, then HTML's own characters entities. Should
that ever fail, the page's content security policy allows nothing but its own style sheet.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dobby_dagster import __version__
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable, shortened
from dobby_dagster.domain.states import State
from dobby_dagster.pipeline.reporting import report_plots
from dobby_dagster.pipeline.reporting.export_formats import shown_confidence
from dobby_dagster.pipeline.reporting.model_evidence import ModelEvidence
from dobby_dagster.pipeline.reporting.report_figures import ReportFigures

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


@dataclass(frozen=True)
class ReportSubject:
    """What stands at the head of a report.

    Attributes:
        database: Its URL without credentials.
        unsure_below: Summaries of lower confidence count as unsure.
        recipes: All of the database: recipe, model, prompt, used_at.
        evidence: What is known of the confidence.
    """

    database: str
    unsure_below: float
    recipes: Sequence[Mapping[str, Any]]
    evidence: ModelEvidence


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
        subtitle=_subtitle(figures),
        about=_about(figures, subject),
        sections=_SECTIONS,
        notices=_notices(figures),
        key_figures=_key_figures(figures),
        states=[
            (s.value.replace("_", " "), tally.states[s], _share(tally.states[s], tally.records), _COLOURS[s])
            for s in _COLOURS
        ],
        recipes=subject.recipes,
        timeline_plots=_timeline_plots(figures),
        runs=runs,
        runs_caption=f"The last {len(runs)} of {len(timeline.runs):,} runs"
        if len(timeline.runs) > len(runs)
        else "Runs",
        confidence_plots=_confidence_plots(figures, subject),
        confidence_lines=list(_confidence_lines(figures, subject)),
        failures=sorted(tally.failures.items(), key=lambda item: -item[1].count),
    )


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, finalize=_visible
    )
    environment.filters |= {
        "short": shortened, "figure": figure, "thousands": "{:,}".format, "moment": moment, "duration": duration,
        "counted": counted,
        "confidence": lambda value: shown_confidence({"confidence": value}),
    }  # fmt: skip
    return environment


def _visible(value: Any) -> Any:
    """``value`` as the template writes it: text that is not ours has no invisible character left."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value, lines=True)


def moment(at: float) -> str:
    """A time, in seconds since the epoch, for people, in the local zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at))


def figure(value: float | None, unit: str) -> str:
    """A figure of a contract with its unit.

    >>> figure(8e9, "bytes"), figure(0.0123, "s"), figure(None, "s")
    ('8,000 MB', '0.0123 s', 'unknown')
    """
    if value is None:
        return "unknown"
    return f"{value / 1e6:,.0f} MB" if unit == "bytes" else f"{value:,.3g} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.4), duration(71), duration(7_260), duration(180_000)
    ('0.4 s', '1 min 11 s', '2 h 1 min', '50 h 0 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _subtitle(figures: ReportFigures) -> str:
    extent = figures.extent
    if extent.run is not None:
        return f"Run {extent.run[:8]}: the records of {counted(figures.batches, 'batch')} that it finished"
    if extent.batch is not None:
        return f"Batch {extent.batch}: {counted(figures.tally.records, 'record')}"
    return f"All planned records of relation '{extent.relation}', in {counted(figures.batches, 'batch')}"


def _about(figures: ReportFigures, subject: ReportSubject) -> list[tuple[str, str]]:
    recipe = next((row for row in subject.recipes if row["recipe"] == figures.extent.recipe), None)
    timeline = figures.timeline
    rows = [("Database", subject.database), ("Relation", figures.extent.relation)]
    if recipe:
        rows.append(("Model and prompt", f"{recipe['model']}, {recipe['prompt']} ({recipe['recipe']})"))
    if figures.extent.run is not None:
        rows.append(("Run", figures.extent.run))
    if timeline.started_at is not None and timeline.finished_at is not None:
        span = f"{moment(timeline.started_at)} to {moment(timeline.finished_at)}"
        rows.append(("Work", f"{span}, {duration(timeline.seconds)} of work"))
    return [*rows, ("As of", moment(figures.written_at))]


def _notices(figures: ReportFigures) -> list[str]:
    held = counted(figures.tally.states[State.IN_PROGRESS], "record")
    notices = []
    if figures.active:
        notices.append(
            f"At work: {counted(len(figures.active), 'run')}, with {held} in progress; these figures will change."
        )
    elif figures.tally.states[State.IN_PROGRESS]:
        notices.append(f"{held} in progress, but no run is working: dobby recover returns them to pending.")
    notices += (
        f"Run {run.run[:8]} is alive and has made no progress for {duration(run.seconds)}." for run in figures.stalled
    )
    if not figures.tally.records:
        notices.append("There is no record here yet.")
    return notices


def _key_figures(figures: ReportFigures) -> list[tuple[str, str, str]]:
    tally, timeline = figures.tally, figures.timeline
    latencies = timeline.latencies
    memory = np.nanmax(timeline.memory) if len(timeline.memory) else None
    p50, p95 = np.quantile(latencies, [0.5, 0.95], method="inverted_cdf") * 1_000 if len(latencies) else (None, None)
    mean = tally.confidence.mean
    return [
        ("Records", f"{tally.records:,}", f"{_share(tally.states[State.COMPLETED], tally.records)} completed"),
        (
            "Failed",
            f"{tally.states[State.FAILED]:,}",
            f"{_share(tally.states[State.FAILED], tally.records)} of the records",
        ),
        (
            "Throughput",
            f"{60 * timeline.inferred / timeline.seconds:,.0f}" if timeline.inferred else "unknown",
            "records inferred a minute of work",
        ),
        (
            "Latency",
            "unknown" if p50 is None else f"{p50:.3g} ms",
            "" if p95 is None else f"median a record; 95\u00a0% below {p95:.3g}\u00a0ms",
        ),
        ("Confidence", "unknown" if mean is None else f"{mean:.2f}", f"mean; {tally.confidence.unknown:,} unknown"),
        (
            "Memory",
            "unknown" if not memory else f"{memory / 1e9:.2f} GB",
            "" if timeline.cores is None else f"at most; {timeline.cores:.1f} cores on average",
        ),
    ]


def _timeline_plots(figures: ReportFigures) -> list[report_plots.Plot]:
    timeline = figures.timeline
    if not timeline.inferred:
        return []
    drawn = (report_plots.throughput, report_plots.latency, report_plots.memory, report_plots.slots)
    return [plot(timeline) for plot in drawn]


def _confidence_plots(figures: ReportFigures, subject: ReportSubject) -> list[report_plots.Plot]:
    plots = [report_plots.confidence(figures.tally, subject.unsure_below)] if figures.tally.confidence.known else []
    measured = subject.evidence.reliability
    return [*plots, report_plots.reliability(measured.bins)] if measured and plots else plots


def _confidence_lines(figures: ReportFigures, subject: ReportSubject) -> list[str]:
    tally, evidence = figures.tally, subject.evidence
    found, lines = tally.confidence, []
    if not tally.summaries:
        return ["There is no summary yet."]
    if evidence.meaning:
        lines.append(f"The confidence is {evidence.meaning}. Low confidence is no proof of error.")
        if found.known:
            lines.append(
                f"If it is as reliable here as it was there, about {found.total:,.0f} of "
                f"{counted(found.known, 'summary')} with a known confidence agree ({_share(found.total, found.known)})."
            )
    elif evidence.found:
        lines.append("The model has no calibration: the confidence is the geometric mean of the tokens' probabilities.")
    else:
        lines.append("What the confidence means is unknown: the folder of this model is not in use here.")
    if found.unknown:
        lines.append(
            f"The confidence of {counted(found.unknown, 'summary')} is unknown: it was not measured on such"
            " contents, or the model server gives no probabilities."
        )
    measured = evidence.reliability
    if measured:
        lines.append(
            f"Measured on {measured.measured_on}: {counted(measured.count, 'summary')}, with an expected calibration "
            f"error of {measured.error:.3f}. On other contents its reliability is unknown."
        )
    else:
        lines.append("Its reliability is unknown: it was not measured for this model.")
    return lines


def _share(part: float, whole: float) -> str:
    """A part as a percentage; 99.96 % is not shown as all.

    >>> _share(1, 4), _share(3_999, 4_000), _share(1, 4_000), _share(0, 0)
    ('25.0 %', '>99.9 %', '<0.1 %', 'none')
    """
    if not whole:
        return "none"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    return ">99.9 %" if 99.9 < share < 100 else f"{share:.1f} %"
