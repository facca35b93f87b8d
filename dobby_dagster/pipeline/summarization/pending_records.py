"""What the asset ``pending_records`` hands on: the members of each batch that need a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.scope import BatchId
from dobby_dagster.store.ledger.record_states import Member


@dataclass(frozen=True, slots=True)
class PendingBatch:
    """The members of one batch that a run would process now, in their order."""

    id: BatchId
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class PendingRecords:
    """The pending members of some batches, batch by batch; loaded from the ledger as they are iterated over."""

    batches: Iterable[PendingBatch]
