"""What the asset ``summaries`` hands to the IO manager: chunks to commit, and how each partition ended."""

from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.store.ledger.chunk import Chunk


@dataclass(frozen=True, slots=True)
class PartitionStart:
    """A partition begins.

    Attributes:
        batch: The partition.
        pending: How many of its records are to be summarized.
    """

    batch: BatchId
    pending: int


@dataclass(frozen=True, slots=True)
class PartitionEnd:
    """How one partition ended; it comes after the partition's last chunk.

    Attributes:
        batch: The partition.
        metadata: What the UI shows of it.
        failure: Why it fails; empty if it does not.
    """

    batch: BatchId
    metadata: Mapping[str, Any]
    failure: str = ""


SummaryEvent: TypeAlias = PartitionStart | tuple[Scope, Chunk] | PartitionEnd


@dataclass(frozen=True, slots=True)
class SummaryStream:
    """Chunks of summaries, each with the scope to commit it in, between the start and the end of their partition.

    The next event is computed when the IO manager asks for it, after it has committed the one before: nothing is
    inferred ahead of what is stored.

    Attributes:
        events: Starts and ends of partitions, and the chunks between.
        taken_over: The IO manager counts here, by batch, what was not stored since another run had taken it over.
    """

    events: Generator[SummaryEvent, None, None]
    taken_over: Counter[BatchId] = field(default_factory=Counter)
