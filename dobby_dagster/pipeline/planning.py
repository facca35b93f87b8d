"""From what changed in the source to batches of record versions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from dobby_dagster.domain.records import Batch, Record, RecordVersion, content_hash
from dobby_dagster.pipeline.progress import report
from dobby_dagster.store.source import Source, Tracking
from dobby_dagster.store.store import CozoStore
from dobby_dagster.store.tracking import prepare, queue_length, queued, save

PAGE = 500


@dataclass
class Changes:
    """What one look at the source found.

    Attributes:
        way, why: How changes were found.
        seen: Rows that were read.
    """

    way: Tracking
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
    """Find what is new, changed or gone, and cut what is to do into batches.

    Each page is remembered in one transaction, so that a planner that is killed loses nothing and repeats
    at most a page.

    Args:
        store: Where versions and batches are kept.
        source: Where records are.
        batch_size: Records a batch, at most.
        recompare: Read every row, whatever the way in use.
    """
    state = prepare(source)
    changes = Changes(state.way, state.why)
    if recompare or state.compared_at is None or state.way == "comparison":
        began = time.time()
        watermark = source.latest_update() if state.way == "watermark" else None
        for page in source.pages(PAGE):
            _note(store, source, page, changes)
        _note_missing(store, source, changes)
        save(store.connection, source, state.way, watermark, began)
    elif state.way == "watermark":
        for page, watermark in source.newer(state.watermark, PAGE):
            _note(store, source, page, changes)
            save(store.connection, source, "watermark", watermark, state.compared_at)
        _note_missing(store, source, changes)
    if state.way == "queue":
        _drain(store, source, changes)
    while batch := store.versions.cut_batch(source.settings.relation, batch_size):
        changes.batches.append(batch)
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


def _note_missing(store: CozoStore, source: Source, changes: Changes) -> None:
    missing = store.versions.missing(source)
    changes.deleted += len(missing)
    for begin in range(0, len(missing), PAGE):
        store.versions.note(source, [], missing[begin : begin + PAGE])


def _drain(store: CozoStore, source: Source, changes: Changes) -> None:
    """Work off the change queue as it stands; what comes meanwhile may wait for the next plan."""
    for _ in range(queue_length(source) // PAGE + 2):
        entries = queued(source, PAGE)
        if not entries:
            return
        found = source.get([key for key, _ in entries])
        _note(store, source, found.values(), changes, entries)
