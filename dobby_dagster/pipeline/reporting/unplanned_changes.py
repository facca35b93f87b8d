"""What was written to a source since its last plan, where triggers note the keys."""

from __future__ import annotations

from collections.abc import Iterator

from dobby_dagster.domain.records import content_hash
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_changes import ChangeKind, RecordChange
from dobby_dagster.store.source.change_tracking import queued_keys
from dobby_dagster.store.source.source_relation import Source

# Records whose contents are read at once.
PAGE = 200


def unplanned_changes(store: CozoStore, source: Source, after: str | None = None) -> Iterator[RecordChange]:
    """Records that differ from what the last plan saw, whenever they were written, in the order of their keys.

    Args:
        store: Where the ledger is.
        source: Where the records are.
        after: Only keys after this one; None for all, as "" may be a key.
    """
    relation = source.settings.relation
    for page in queued_keys(source, PAGE, after):
        known = store.changes.versions(relation, page, store.counts.now())
        records = source.get(page)
        for key in page:
            before, deleted = known.get(key, ("", True))
            record = records.get(key)
            if record is None:
                if not deleted:
                    yield RecordChange(key, ChangeKind.DELETED, before, False)
                continue
            found = content_hash(record.content)
            if deleted or found != before:
                yield RecordChange(key, ChangeKind.NEW if deleted else ChangeKind.CHANGED, found, False)
