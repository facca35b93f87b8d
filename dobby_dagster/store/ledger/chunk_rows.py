"""The rows that a commit stores of a chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from dobby_dagster.domain.records import Content
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.search_words import document_words
from dobby_dagster.domain.states import State
from dobby_dagster.domain.summaries import Summary
from dobby_dagster.store.ledger.chunk import ChunkStats, Outcome
from dobby_dagster.store.ledger.relations import SUMMARY
from dobby_dagster.store.ledger.totals import Addend, histogram


def held_row(outcome: Outcome) -> list[Any]:
    """A row of ``_held``: the record, and the state in which the run saw it."""
    version, seen = outcome.version, outcome.seen
    return [version.source, version.key, version.content_hash, seen and seen.owner, seen and seen.since]


def ended_row(place: int, outcome: Outcome, made: bool) -> list[Any]:
    """A row of ``_ended``, with whether its content has to be the one of the source."""
    confidence = outcome.summary.confidence if outcome.summary and outcome.inferred else None
    ended = [str(outcome.state.state), outcome.state.error_code, int(outcome.inferred), confidence]
    return [place, outcome.version.key, *ended, made]


def summary_row(summary: Summary, scope: Scope) -> list[Any]:
    """A row of :data:`SUMMARY`."""
    return [scope.run if column == "run" else getattr(summary, column) for column in SUMMARY.columns]


def document_row(summary: Summary, content: Content) -> list[str]:
    """A row of :data:`DOCUMENT`, with the words that the record is found by."""
    words = document_words(summary.key, summary.text, content)
    return [summary.source, summary.key, summary.recipe, summary.content_hash, words]


@dataclass(frozen=True, slots=True)
class Counted:
    """The row of a chunk, and what it adds to the totals beside its outcomes.

    Attributes:
        earlier: Outcomes that are committed already.
        earlier_inferred: How many of them were inferred.
    """

    name: str
    outcomes: Sequence[Outcome]
    stats: ChunkStats
    earlier: Mapping[State, int] = field(default_factory=dict)
    earlier_inferred: int = 0

    def row(self, scope: Scope) -> list[Any]:
        """A row of :data:`CHUNK`, with the counts of earlier outcomes only."""
        stats, errors = self.stats, [o.state.error for o in self.outcomes if o.state.error]
        completed, failed, skipped = (self.earlier.get(s, 0) for s in (State.COMPLETED, State.FAILED, State.SKIPPED))
        return [
            scope.batch, scope.recipe, self.name, scope.run, stats.started_at, stats.finished_at, completed,
            self.earlier_inferred, failed, skipped, stats.latencies, stats.rss_bytes, stats.cpu_share, stats.slots,
            stats.slots_in_use, errors[-1] if errors else "", stats.prompt_tokens, stats.output_tokens,
            stats.device, fmean(stats.queue_seconds) if stats.queue_seconds else None,
        ]  # fmt: skip

    def addends(self) -> list[Addend]:
        """What the chunk adds to the totals beside its outcomes."""
        stats, seconds = self.stats, self.stats.finished_at - self.stats.started_at
        tokens = {"prompt": stats.prompt_tokens, "output": stats.output_tokens}
        return [
            ("busy_seconds", "", seconds),
            ("slot_seconds", "", stats.slots_in_use * seconds),
            *(("tokens", kind, count) for kind, count in tokens.items() if count is not None),
            *histogram("record_seconds", stats.latencies),
            *histogram("request_seconds", stats.request_seconds),
            *histogram("queue_seconds", stats.queue_seconds),
        ]
