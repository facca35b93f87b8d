"""From what changed in the source to batches of record versions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Batch, Record, RecordVersion, content_hash
from dobby_dagster.pipeline.progress import report
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.change_tracking import TrackingState, prepare, queue_length, queued, save
from dobby_dagster.store.source.source_relation import Source, Tracking

PAGE = 500
NEVER = math.inf


@dataclass
class Changes:
    """What one look at the source found.

    Attributes:
        method, why: How changes were found.
        seen: Rows that were read.
    """

    method: Tracking
    why: str
    new: int = 0
    changed: int = 0
    deleted: int = 0
    seen: int = 0
    batches: list[Batch] = field(default_factory=list)

    @property
    def unchanged(self) -> int:
        """Rows that were read and were as known."""
        return self.seen - self.new - self.changed


def plan(store: CozoStore, source: Source, batch_size: int, *, recompare: bool = False) -> Changes:
    """Find what is new, changed or gone, whatever it costs, and cut all that waits into batches.

    Args:
        store: Where versions and batches are kept.
        source: Where records are.
        batch_size: Records a batch, at most.
        recompare: Read every row, whatever method is in use.
    """
    state = prepare(source)
    if recompare or must_compare(state):
        changes = _compare(store, source, state)
    else:
        changes = _look(store, source, state)
        if state.method == "watermark" or store.versions.live(source.settings.relation) != source.count():
            _account(store, source, changes)
    cut(store, source, batch_size, changes)
    return changes


def look(store: CozoStore, source: Source, seconds: float) -> Changes:
    """Find what is new or changed at a cost that grows with what is new; cut nothing.

    A relation that has to be compared row by row is left alone: see :func:`must_compare`. Deletions in a relation
    with a watermark are left to the next :func:`plan` as well, for they show in no row.

    Args:
        store: Where versions are kept.
        source: Where records are.
        seconds: Begin no page after so long; the rest waits for the next look.
    """
    state = prepare(source)
    if must_compare(state):
        return Changes(state.method, state.why)
    return _look(store, source, state, time.monotonic() + seconds)


def must_compare(state: TrackingState) -> bool:
    """Whether what changed can be found by reading every row only."""
    return state.compared_at is None or state.method == "comparison"


def cut(
    store: CozoStore, source: Source, batch_size: int, changes: Changes, *, partial: bool = True, limit: int = 1_000_000
) -> None:
    """Cut what waits into batches.

    Args:
        store: Where versions and batches are kept.
        source: Where records are.
        batch_size: Records a batch, at most.
        changes: Told of each batch.
        partial: Cut a last batch that is smaller, too.
        limit: So many batches, at most.
    """
    relation = source.settings.relation
    whole = limit if partial else min(limit, store.versions.waiting(relation) // batch_size)
    while len(changes.batches) < whole and (batch := store.versions.cut_batch(relation, batch_size)):
        changes.batches.append(batch)


# Each page is remembered in one transaction, so that a planner that is killed loses nothing and repeats at most a page.


def _compare(store: CozoStore, source: Source, state: TrackingState) -> Changes:
    changes = Changes(state.method, state.why)
    began = time.time()
    watermark = source.latest_update() if state.method == "watermark" else None
    for page in source.pages(PAGE):
        _note(store, source, page, changes)
    _account(store, source, changes)
    save(store.connection, source, state.method, watermark, began)
    if state.method == "queue":
        _drain(store, source, changes, NEVER)
    return changes


def _look(store: CozoStore, source: Source, state: TrackingState, deadline: float = NEVER) -> Changes:
    changes = Changes(state.method, state.why)
    if state.method == "queue":
        _drain(store, source, changes, deadline)
        return changes
    for page, watermark in source.newer(state.watermark, PAGE):
        _note(store, source, page, changes)
        save(store.connection, source, "watermark", watermark, state.compared_at)
        if time.monotonic() > deadline:
            break
    return changes


def _note(
    store: CozoStore,
    source: Source,
    records: Iterable[Record],
    changes: Changes,
    tokens: list[tuple[str, str]] | None = None,
) -> None:
    found = {record.key: record for record in records}
    wanted = list(dict.fromkeys([*found, *(key for key, _ in tokens or [])]))
    known = store.versions.known(source, wanted)
    fresh: list[RecordVersion] = []
    for key, record in found.items():
        digest = content_hash(record.content)
        before = known.get(key)
        if before and before.content_hash == digest and not before.deleted:
            continue
        changes.changed += before is not None
        changes.new += before is None
        fresh.append(RecordVersion(source.settings.relation, key, digest, record.priority, record.size))
    gone = [key for key in wanted if key not in found and key in known and not known[key].deleted]
    changes.seen += len(found)
    changes.deleted += len(gone)
    if fresh or gone or tokens:
        store.versions.note(source, fresh, gone, tokens)
    report("planning", len(found))


def _account(store: CozoStore, source: Source, changes: Changes) -> None:
    """See to it that the records which are known are the rows which are there.

    Rows come and go while others are read: what is found now is noted. A row that still is not known then is one that
    can be listed and not be read by its key.

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
        _note(store, source, source.get(unknown[begin : begin + PAGE]).values(), changes)
    still, _ = store.versions.difference(source)
    lost = sorted(set(unknown) & set(still))
    if lost:
        raise SourceError(
            f"{len(lost):,} of {source.count():,} rows of relation '{source.settings.relation}' can't be read by their "
            f"key, such as {lost[0]!r}, in column '{source.settings.key}' of type {source.key_type}",
            hint="give the rows keys of another type",
        )


def _drain(store: CozoStore, source: Source, changes: Changes, deadline: float) -> None:
    """Work off the change queue as it stands; what comes meanwhile may wait for the next plan."""
    for _ in range(queue_length(source) // PAGE + 2):
        entries = queued(source, PAGE)
        if not entries or time.monotonic() > deadline:
            return
        found = source.get([key for key, _ in entries])
        _note(store, source, found.values(), changes, entries)
