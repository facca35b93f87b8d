"""Find what changed in the source, and cut record versions into batches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Batch, Record
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.pipeline.callees.calls import Calls
from dobby_dagster.pipeline.planning.differences import PAGE, differences
from dobby_dagster.pipeline.progress import report
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.change_tracking import TrackingState, prepare, queue_length, queued, save
from dobby_dagster.store.source.source_relation import Source, Tracking

NEVER = math.inf


@dataclass
class Changes:
    """What one poll of the source found.

    Attributes:
        method: How changes were found.
        reason: Why that method was chosen.
        new, changed, deleted: Records, since the poll before.
        read: Rows that were read.
        batches: Batches that were cut.
    """

    method: Tracking
    reason: str
    new: int = 0
    changed: int = 0
    deleted: int = 0
    read: int = 0
    batches: list[Batch] = field(default_factory=list)

    @property
    def unchanged(self) -> int:
        """Rows that were read and had not changed."""
        return self.read - self.new - self.changed

    def add(self, later: Changes) -> None:
        """Count what a later poll has found, too."""
        self.new, self.changed, self.deleted = (
            self.new + later.new, self.changed + later.changed, self.deleted + later.deleted,
        )  # fmt: skip
        self.read += later.read
        self.batches += later.batches


def plan(
    store: CozoStore, source: Source, batch_size: int, *, full_scan: bool = False, callees_first: bool = False
) -> Changes:
    """Find everything that is new, changed or deleted, and cut all unbatched versions into batches.

    Args:
        store: Where versions and batches are kept.
        source: Where records are.
        batch_size: Records per batch, at most.
        full_scan: Read every row, even where triggers or a watermark tell what changed.
        callees_first: Put callees into earlier batches than their callers, of the records of a priority.

    Raises:
        SourceError: A row can't be read by its key, or two rows have the same key for Dobby.
    """
    state = prepare(source)
    if full_scan or needs_full_scan(state):
        changes = _scan(store, source, state)
    else:
        changes = _poll(store, source, state)
        if state.method == "watermark" or store.versions.live(source.settings.relation) != source.count():
            _reconcile(store, source, changes)
    cut_batches(store, source, batch_size, changes, callees_first=callees_first)
    return changes


def poll(store: CozoStore, source: Source, seconds: float) -> Changes:
    """Find what is new or changed, at a cost that grows with the changes only; cut no batch.

    A relation that needs a full scan is not read, see :func:`needs_full_scan`. Deletions in a relation with a watermark
    are found by the next :func:`plan`, since no row shows them.

    Args:
        store: Where versions are kept.
        source: Where records are.
        seconds: Start no page after this time; the next poll reads the rest.
    """
    state = prepare(source)
    if needs_full_scan(state):
        return Changes(state.method, state.why)
    return _poll(store, source, state, time.monotonic() + seconds)


def needs_full_scan(state: TrackingState) -> bool:
    """Whether only reading every row can tell what changed."""
    return state.compared_at is None or state.method == "comparison"


def cut_batches(
    store: CozoStore,
    source: Source,
    batch_size: int,
    changes: Changes,
    *,
    partial: bool = True,
    limit: int = 1_000_000,
    callees_first: bool = False,
) -> None:
    """Cut versions that are in no batch yet into batches, highest priority first.

    Args:
        store: Where versions and batches are kept.
        source: Where records are.
        batch_size: Records per batch, at most.
        changes: Each new batch is appended to its ``batches``.
        partial: Also cut a last batch that is smaller than ``batch_size``.
        limit: Batches, at most.
        callees_first: Put callees into earlier batches than their callers, of the records of a priority.
    """
    relation = source.settings.relation
    count = limit if partial else min(limit, store.versions.waiting(relation) // batch_size)
    if callees_first and relation == OWN_RELATION:
        waiting = Calls.read(store).ordered(store.versions.waiting_keys(relation))
        for begin in range(0, min(count * batch_size, len(waiting)), batch_size):
            batch = store.versions.cut_batch(relation, batch_size, waiting[begin : begin + batch_size])
            changes.batches += [batch] if batch else []
        return
    while len(changes.batches) < count and (batch := store.versions.cut_batch(relation, batch_size)):
        changes.batches.append(batch)


# Each page is one transaction, so that a planner that is killed loses nothing and repeats at most one page.


def _scan(store: CozoStore, source: Source, state: TrackingState) -> Changes:
    changes = Changes(state.method, state.why)
    started = time.time()
    watermark = source.latest_update() if state.method == "watermark" else None
    for page in source.pages(PAGE):
        _record_page(store, source, page, changes)
    _reconcile(store, source, changes)
    save(store.connection, source, state.method, watermark, started)
    if state.method == "queue":
        _drain_queue(store, source, changes, NEVER)
    return changes


def _poll(store: CozoStore, source: Source, state: TrackingState, deadline: float = NEVER) -> Changes:
    changes = Changes(state.method, state.why)
    if state.method == "queue":
        _drain_queue(store, source, changes, deadline)
        return changes
    for page, watermark in source.newer(state.watermark, PAGE):
        _record_page(store, source, page, changes)
        save(store.connection, source, "watermark", watermark, state.compared_at)
        if time.monotonic() > deadline:
            break
    return changes


def _record_page(
    store: CozoStore,
    source: Source,
    records: Iterable[Record],
    changes: Changes,
    tokens: list[tuple[str, str]] | None = None,
) -> None:
    """Store the new and deleted versions among ``records``, and remove the queue entries ``tokens``."""
    rows = list(records)
    found = differences(store, source, rows, [key for key, _ in tokens or []])
    changes.read += len(rows)
    changes.new += len(found.new)
    changes.changed += len(found.changed)
    changes.deleted += len(found.deleted)
    if found.new or found.changed or found.deleted or tokens:
        store.versions.note(source, [*found.new, *found.changed], found.deleted, tokens)
    report("planning", len(rows))


def _reconcile(store: CozoStore, source: Source, changes: Changes) -> None:
    """Make the known records equal to the rows of the source.

    Rows may be added and deleted while others are read: such changes are stored now. A row that is still unknown after
    that can be listed but not be read by its key.

    Raises:
        SourceError: There is such a row, or two rows have the same key for Dobby.
    """
    unknown, missing = store.versions.difference(source)
    changes.deleted += len(missing)
    for begin in range(0, len(missing), PAGE):
        store.versions.note(source, [], missing[begin : begin + PAGE])
    if not unknown:
        return
    for begin in range(0, len(unknown), PAGE):
        _record_page(store, source, source.get(unknown[begin : begin + PAGE]).values(), changes)
    still, _ = store.versions.difference(source)
    unreadable = sorted(set(unknown) & set(still))
    if unreadable:
        raise SourceError(
            f"{len(unreadable):,} of {source.count():,} rows of relation '{source.settings.relation}' can't be read by "
            f"their key, such as {unreadable[0]!r}, in column '{source.settings.key}' of type {source.key_type}",
            hint="give the rows keys of another type",
        )


def _drain_queue(store: CozoStore, source: Source, changes: Changes, deadline: float) -> None:
    """Process the entries that the change queue has now; later ones may wait for the next plan."""
    for _ in range(queue_length(source) // PAGE + 2):
        entries = queued(source, PAGE)
        if not entries or time.monotonic() > deadline:
            return
        found = source.get([key for key, _ in entries])
        _record_page(store, source, found.values(), changes, entries)
