"""What a report says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.states import State
from dobby_dagster.pipeline.reporting.figure_text import duration, moment, share
from dobby_dagster.pipeline.reporting.model_evidence import ModelEvidence
from dobby_dagster.pipeline.reporting.report_figures import ReportFigures


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


def subtitle(figures: ReportFigures) -> str:
    """What the report covers."""
    extent = figures.extent
    if extent.run is not None:
        return f"Run {extent.run[:8]}: the records of {counted(figures.batches, 'batch')} that it finished"
    if extent.batch is not None:
        return f"Batch {extent.batch}: {counted(figures.tally.records, 'record')}"
    return f"All planned records of relation '{extent.relation}', in {counted(figures.batches, 'batch')}"


def about(figures: ReportFigures, subject: ReportSubject) -> list[tuple[str, str]]:
    """The facts at its head, by name."""
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


def notices(figures: ReportFigures) -> list[str]:
    """What has to be known before the figures are read."""
    held = counted(figures.tally.states[State.IN_PROGRESS], "record")
    found = []
    if figures.active:
        found.append(
            f"At work: {counted(len(figures.active), 'run')}, with {held} in progress; these figures will change."
        )
    elif figures.tally.states[State.IN_PROGRESS]:
        found.append(f"{held} in progress, but no run is working: dobby recover returns them to pending.")
    found += (
        f"Run {run.run[:8]} is alive and has made no progress for {duration(run.seconds)}." for run in figures.stalled
    )
    if not figures.tally.records:
        found.append("There is no record here yet.")
    return found


def key_figures(figures: ReportFigures) -> list[tuple[str, str, str]]:
    """The most important figures: name, value, note."""
    tally, timeline = figures.tally, figures.timeline
    latencies = timeline.latencies
    memory = np.nanmax(timeline.memory) if len(timeline.memory) else None
    p50, p95 = np.quantile(latencies, [0.5, 0.95], method="inverted_cdf") * 1_000 if len(latencies) else (None, None)
    mean = tally.confidence.mean
    return [
        ("Records", f"{tally.records:,}", f"{share(tally.states[State.COMPLETED], tally.records)} completed"),
        (
            "Failed",
            f"{tally.states[State.FAILED]:,}",
            f"{share(tally.states[State.FAILED], tally.records)} of the records",
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
        ("Confidence", shown_confidence(mean), f"mean; {tally.confidence.unknown:,} unknown"),
        (
            "Memory",
            "unknown" if not memory else f"{memory / 1e9:.2f} GB",
            "" if timeline.cores is None else f"at most; {timeline.cores:.1f} cores on average",
        ),
    ]


def confidence_lines(figures: ReportFigures, subject: ReportSubject) -> list[str]:
    """What is known of the confidence, and what is not."""
    tally, evidence = figures.tally, subject.evidence
    found, lines = tally.confidence, []
    if not tally.summaries:
        return ["There is no summary yet."]
    if evidence.meaning:
        lines.append(f"The confidence is {evidence.meaning}. Low confidence is no proof of error.")
        if found.known:
            lines.append(
                f"If it is as reliable here as it was there, about {found.total:,.0f} of "
                f"{counted(found.known, 'summary')} with a known confidence agree ({share(found.total, found.known)})."
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
