"""A chunk: what a run hands over to be committed at once, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dobby_dagster.domain.records import Content, RecordVersion
from dobby_dagster.domain.states import ProcessingState
from dobby_dagster.domain.summaries import Summary
from dobby_dagster.store.ledger.record_states import Seen


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one record of a chunk ended: with a summary, or with the state that says why not.

    Attributes:
        version: The record version.
        content: What was summarised; the commit compares it with what the source has by then.
        state: The state that the record comes to.
        summary: Its summary, if it is completed.
        inferred: Whether the model was asked for this record, and not for another of equal content.
        seen: The state of which this is the outcome: nothing is stored if the record has come to another one; None to
            store it anyway.
        attempt: The number of this attempt, counted from 1: the retry count if it fails, also if it can't be stored.
    """

    version: RecordVersion
    content: Content
    state: ProcessingState
    summary: Summary | None = None
    inferred: bool = False
    attempt: int = 1
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class ChunkStats:
    """What one chunk took; units are in the names.

    Attributes:
        latencies: The share of each inferred record in the time of inference, in seconds.
        rss_bytes: Memory of the process.
        cpu_share: Cores that it used.
        slots_in_use: The mean over the chunk's time.
        prompt_tokens, output_tokens: Of all records; None where an engine did not count those of some.
        request_seconds: How long each inferred record held a slot.
        queue_seconds: How long each inferred record waited for a slot, where the engine tells.
        device: What the model ran on; None where nothing was inferred.
    """

    started_at: float
    finished_at: float
    latencies: list[float] = field(default_factory=list)
    rss_bytes: int = 0
    cpu_share: float = 0.0
    slots: int = 0
    slots_in_use: float = 0.0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    request_seconds: list[float] = field(default_factory=list)
    device: str | None = None
    queue_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A few dozen records of one batch: the unit of commit."""

    outcomes: Sequence[Outcome]
    stats: ChunkStats


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did not store, by the keys of the records.

    Attributes:
        superseded: Their content in the source is not the one that was summarised.
        taken_over: Another run has taken them over meanwhile; what it stores counts.
    """

    superseded: frozenset[str] = frozenset()
    taken_over: frozenset[str] = frozenset()

    def __or__(self, other: Committed) -> Committed:
        return Committed(self.superseded | other.superseded, self.taken_over | other.taken_over)
