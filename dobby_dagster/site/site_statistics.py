"""What the site counts: records by level, state, language and kind, confidences, models, days."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dobby_dagster.site.entry import Entry, Level
from dobby_dagster.site.page_views import Link, Target

STATISTICS = "statistics.html"
BINS = 20
# Rows of a table, and records in a list.
MOST_ROWS = 30
MOST_RECORDS = 100


@dataclass(frozen=True, slots=True)
class CountTable:
    """Counts of one kind, the largest first; ``more`` values are not shown."""

    heading: str
    column: str
    rows: tuple[tuple[str, int], ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """One record in a list of those that need attention."""

    link: Link
    text: str
    level: Level
    confidence: float | None


@dataclass(frozen=True, slots=True)
class AttentionList:
    """Records that need attention, the most urgent first; ``more`` are not shown."""

    name: str
    heading: str
    records: tuple[Listed, ...]
    more: int


@dataclass(frozen=True, slots=True)
class SiteStatistics:
    """The page of statistics.

    Attributes:
        levels: How many records are of each level.
        histogram: How many summaries have a confidence in each of :data:`BINS` equal parts of 0 to 1.
        mean: Of the known confidences; None where none is known.
    """

    path: str
    records: int
    summaries: int
    levels: tuple[tuple[Level, int], ...]
    tables: tuple[CountTable, ...]
    histogram: tuple[int, ...]
    mean: float | None
    lists: tuple[AttentionList, ...]


def site_statistics(entries: Sequence[Entry], targets: Mapping[str, Target]) -> SiteStatistics:
    """The statistics of ``entries``, with links to those that need attention."""
    levels = Counter(entry.level for entry in entries)
    current = [entry for entry in entries if entry.summary is not None and entry.level is not Level.STALE]
    known = [entry.confidence for entry in current if entry.confidence is not None]
    histogram = Counter(min(BINS - 1, int(confidence * BINS)) for confidence in known)
    unsure = sorted(_of(entries, Level.UNSURE), key=lambda entry: (entry.confidence or 0.0, entry.key))
    return SiteStatistics(
        path=STATISTICS,
        records=len(entries),
        summaries=len(current),
        levels=tuple((level, levels[level]) for level in Level if levels[level]),
        tables=(
            _table("States", "state", (entry.state.replace("_", " ") for entry in entries)),
            _table("Languages", "language", (entry.language or "unknown" for entry in entries)),
            _table("Kinds", "kind", (entry.kind for entry in entries)),
            _table("Models", "model", (entry.model for entry in current)),
            _table("Days", "day of the summary", map(_day, current), by_count=False),
        ),
        histogram=tuple(histogram[each] for each in range(BINS)),
        mean=sum(known) / len(known) if known else None,
        lists=(
            _list("unsure", "Least confident", unsure, targets, _summary),
            _list("stale", "Changed since their summary", _of(entries, Level.STALE), targets, _summary),
            _list("failed", "Failed", _of(entries, Level.FAILED), targets, lambda entry: entry.why),
            _list("none", "Without a summary", _of(entries, Level.NONE), targets, _state),
        ),
    )


def _of(entries: Sequence[Entry], level: Level) -> list[Entry]:
    return [entry for entry in entries if entry.level is level]


def _table(heading: str, column: str, values: Iterable[str], *, by_count: bool = True) -> CountTable:
    counts = Counter(values)
    rows = counts.most_common() if by_count else sorted(counts.items(), reverse=True)
    return CountTable(heading, column, tuple(rows[:MOST_ROWS]), max(0, len(rows) - MOST_ROWS))


def _list(
    name: str, heading: str, found: Sequence[Entry], targets: Mapping[str, Target], text: Callable[[Entry], str]
) -> AttentionList:
    shown = tuple(
        Listed(
            Link(entry.key, target_of(entry, targets).seen_from(STATISTICS)), text(entry), entry.level, entry.confidence
        )
        for entry in found[:MOST_RECORDS]
    )
    return AttentionList(name, heading, shown, len(found) - len(shown))


def target_of(entry: Entry, targets: Mapping[str, Target]) -> Target:
    """Where ``entry`` is shown: as a part of a page, or as the page of its place."""
    return targets.get(entry.key) or targets["/".join(entry.place)]


def _summary(entry: Entry) -> str:
    return entry.summary or ""


def _state(entry: Entry) -> str:
    state = entry.state.replace("_", " ")
    return f"{state}: {entry.why}" if entry.why else state


def _day(entry: Entry) -> str:
    return "unknown" if entry.created_at is None else time.strftime("%Y-%m-%d", time.localtime(entry.created_at))
