"""What differs between rows of the source and the versions of their records that the last plan saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dobby_dagster.domain.records import Record, RecordVersion, content_hash
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_versions import Known
from dobby_dagster.store.source.change_tracking import queue_length, queued, queued_rows
from dobby_dagster.store.source.source_relation import Source

PAGE = 500


@dataclass
class Differences:
    """Versions that no plan has seen, and records without a row.

    Attributes:
        new: Of records that were never seen, or were deleted before.
        changed: Of the others.
        deleted: Keys.
    """

    new: list[RecordVersion] = field(default_factory=list)
    changed: list[RecordVersion] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def differences(store: CozoStore, source: Source, records: Iterable[Record], looked_up: Sequence[str]) -> Differences:
    """Compare rows with the known versions; nothing is written.

    Args:
        store: Where the known versions are.
        source: Of the records.
        records: The rows as they are now.
        looked_up: Keys, some of which may have no row any more.
    """
    found = {record.key: record for record in records}
    keys = list(dict.fromkeys([*found, *looked_up]))
    known = store.versions.known(source, keys)
    hashes = {key: content_hash(record.content) for key, record in found.items()}
    same = [key for key, digest in hashes.items() if known.get(key) == Known(digest, False)]
    unchanged = set(same) - (store.versions.returned(source, same) if same else set())
    result = Differences()
    for key, record in found.items():
        if key not in unchanged:
            before = known.get(key)
            versions = result.new if before is None or before.deleted else result.changed
            versions.append(RecordVersion(source.settings.relation, key, hashes[key], record.priority, record.size))
    result.deleted = [key for key in keys if key not in found and key in known and not known[key].deleted]
    return result


def edited(store: CozoStore, source: Source) -> list[RecordVersion]:
    """Known records whose row has another content than the last plan saw, where triggers note changes; else empty.

    Rows that were written again with the content that they had are none of them; neither are new and deleted rows.
    """
    keys = _noted(source)
    found: list[RecordVersion] = []
    for begin in range(0, len(keys), PAGE):
        known = store.versions.known(source, keys[begin : begin + PAGE])
        live = [key for key, version in known.items() if not version.deleted]
        found += differences(store, source, source.get(live).values(), []).changed
    return found


def unplanned(store: CozoStore, source: Source, most: int) -> int:
    """New and edited rows since the last plan that wait for no batch, where triggers note changes; else 0.

    Args:
        store: Where the known versions are.
        source: Of the rows.
        most: If more rows than this were written, all of them are counted, unread: also those that are as they were.
    """
    if (rows := queued_rows(source)) > most:
        return rows
    keys = _noted(source) if rows else []
    found: set[str] = set()
    for begin in range(0, len(keys), PAGE):
        here = differences(store, source, source.get(keys[begin : begin + PAGE]).values(), [])
        found.update(version.key for version in [*here.new, *here.changed])
    if not found:
        return 0
    return len(found.difference(key for _, key in store.versions.waiting_keys(source.settings.relation)))


def _noted(source: Source) -> list[str]:
    with source.connection.session():
        length = queue_length(source)
        return [key for key, _ in queued(source, length)] if length else []
