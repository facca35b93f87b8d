"""Everything that a report says, as plain data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.records import content_hash, readable_text
from dobby_dagster.domain.scope import BatchId
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.stall import Stall
from dobby_dagster.pipeline.monitoring.contract_results import results_of_metrics
from dobby_dagster.pipeline.monitoring.stalls import StalledRun, stalled_runs
from dobby_dagster.pipeline.reporting.contract_tally import ContractTally, tally_contracts
from dobby_dagster.pipeline.reporting.record_tally import RecordTally, Row
from dobby_dagster.pipeline.reporting.work_timeline import WorkTimeline, work_timeline
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.activity import ActiveRun
from dobby_dagster.store.ledger.report_pages import Extent
from dobby_dagster.store.source.source_relation import Source

STALLS = 10
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
        contracts: How these keep their contracts.
        stalls: The last runs that were ended because they made no progress, the latest first.
        stalled: Runs that are alive and make no progress.
        active: Runs that are working on these batches, stalled ones too.
        least_confident, sample: Summaries with their contents.
    """

    extent: Extent
    written_at: float
    tally: RecordTally
    timeline: WorkTimeline
    batches: int
    measured: int
    contracts: Sequence[ContractTally]
    stalls: Sequence[Stall]
    stalled: Sequence[StalledRun]
    active: Sequence[ActiveRun]
    least_confident: Sequence[Excerpt]
    sample: Sequence[Excerpt]


def report_figures(
    store: CozoStore,
    source: Source,
    extent: Extent,
    settings: Settings,
    model: str,
    advance: Callable[[int], object] = lambda records: None,
) -> ReportFigures:
    """Gather the figures of ``extent``.

    Args:
        store: Where they are.
        source: Where the contents are.
        extent: What to cover.
        settings: When a summary is unsure, a record quarantined, a run stalled, a contract broken.
        model: The name of the model of the recipe; empty where there is none.
        advance: Called with the number of records of each page that was read.
    """
    batches = set(store.report_pages.batches(extent))
    timeline = work_timeline(store.report_pages.chunks(extent))
    tally = RecordTally(settings.pipeline.unsure_below, settings.pipeline.max_retries)
    for page in store.report_pages.records(extent):
        tally.add(page)
        advance(len(page))
    results = results_of_metrics(store, model, _metrics(store, extent), settings.contracts)
    return ReportFigures(
        extent=extent,
        written_at=time.time(),
        tally=tally,
        timeline=timeline,
        batches=len(batches),
        measured=sum(1 for _ in _metrics(store, extent)),
        contracts=tally_contracts(results),
        stalls=[stall for stall in store.stalls.recent(0.0) if _concerns(extent, batches, stall)][: -STALLS - 1 : -1],
        stalled=[run for run in stalled_runs(store, settings) if _concerns(extent, batches, run)],
        active=[run for run in store.activity.runs() if _concerns(extent, batches, run)],
        least_confident=_excerpts(store, source, tally.least_confident),
        sample=_excerpts(store, source, tally.sample),
    )


def _metrics(store: CozoStore, extent: Extent) -> Iterator[Row]:
    return (row for page in store.report_pages.metrics(extent) for row in page)


def _concerns(extent: Extent, batches: set[BatchId], run: ActiveRun | StalledRun | Stall) -> bool:
    """Whether what a run does, or did before it stalled, is a part of ``extent``, which covers ``batches``."""
    return run.recipe == extent.recipe and extent.run in (None, run.run) and not batches.isdisjoint(run.batches)


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
