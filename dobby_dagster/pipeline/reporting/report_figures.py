"""Everything that a report says, as plain data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dobby_dagster.domain.contracts import broken
from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.records import content_hash, readable_text
from dobby_dagster.domain.settings import PipelineSettings
from dobby_dagster.pipeline.reporting.record_tally import RecordTally, Row
from dobby_dagster.pipeline.reporting.work_timeline import WorkTimeline, work_timeline
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.report_pages import Extent
from dobby_dagster.store.source.source_relation import Source

CONTENT_LINES = 14
CONTENT_LENGTH = 900


@dataclass(frozen=True, slots=True)
class Excerpt:
    """One record for people to read.

    Attributes:
        row: See :meth:`~dobby_dagster.store.ledger.report_pages.ReportPages.records`.
        summary: Its text.
        content: The beginning of the content; None where it is not text, or no longer what was summarised.
        shortened: Whether ``content`` lacks the rest.
        absent: Why there is no content, else empty.
    """

    row: Row
    summary: str
    content: str | None = None
    shortened: bool = False
    absent: str = ""


@dataclass(frozen=True, slots=True)
class ContractState:
    """How often a performance contract was broken.

    Attributes:
        batches: How many batches broke it.
        latest: The contract with the figure of the last of these batches, in one line.
    """

    batches: int
    latest: str


@dataclass(frozen=True)
class ReportFigures:
    """Everything that a report says.

    Attributes:
        extent: What it covers.
        written_at: Seconds since the epoch.
        tally: The records.
        timeline: The work.
        batches: How many it covers.
        measured: How many of these have metrics.
        contracts: Broken contracts by name.
        least_confident, sample: Summaries with their contents.
    """

    extent: Extent
    written_at: float
    tally: RecordTally
    timeline: WorkTimeline
    batches: int
    measured: int
    contracts: Mapping[str, ContractState] = field(default_factory=dict)
    least_confident: list[Excerpt] = field(default_factory=list)
    sample: list[Excerpt] = field(default_factory=list)


def report_figures(
    store: CozoStore,
    source: Source,
    extent: Extent,
    settings: PipelineSettings,
    advance: Callable[[int], object] = lambda records: None,
) -> ReportFigures:
    """Gather the figures of ``extent``.

    Args:
        store: Where they are.
        source: Where the contents are.
        extent: What to cover.
        settings: When a summary is unsure, and when a record is quarantined.
        advance: Called with the number of records of each page that was read.
    """
    timeline = work_timeline(store.report_pages.chunks(extent))
    tally = RecordTally(settings.unsure_below, settings.max_retries)
    for page in store.report_pages.records(extent):
        tally.add(page)
        advance(len(page))
    measured, contracts = _contracts(row for page in store.report_pages.metrics(extent) for row in page)
    return ReportFigures(
        extent=extent,
        written_at=time.time(),
        tally=tally,
        timeline=timeline,
        batches=len(store.report_pages.batches(extent)),
        measured=measured,
        contracts=contracts,
        least_confident=_excerpts(store, source, tally.least_confident),
        sample=_excerpts(store, source, tally.sample),
    )


def _contracts(metrics: Iterable[Row]) -> tuple[int, dict[str, ContractState]]:
    measured, found = 0, dict[str, ContractState]()
    for row in metrics:
        measured += 1
        for line in broken(row["values"]):
            name = line.partition(":")[0]
            before = found.get(name)
            found[name] = ContractState(before.batches + 1 if before else 1, line)
    return measured, dict(sorted(found.items()))


def _excerpts(store: CozoStore, source: Source, rows: list[Row]) -> list[Excerpt]:
    texts = store.report_pages.texts(source.settings.relation, {row["key"]: row["fingerprint"] for row in rows})
    records = source.get([row["key"] for row in rows]) if rows else {}
    return [_excerpt(row, texts.get(row["key"], ""), records.get(row["key"])) for row in rows]


def _excerpt(row: Row, summary: str, record: Any) -> Excerpt:
    if record is None:
        return Excerpt(row, summary, absent="the record was deleted since")
    if content_hash(record.content) != row["content_hash"]:
        return Excerpt(row, summary, absent="the content was edited since")
    text = readable_text(record.content)
    if text is None:
        return Excerpt(row, summary, absent="the content is not text")
    shown = shortened("\n".join(text.splitlines()[:CONTENT_LINES]), CONTENT_LENGTH)
    return Excerpt(row, summary, shown, shortened=len(shown) < len(text.rstrip()))
