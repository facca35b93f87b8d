"""What the summaries lag behind the source, as far as that is known without a full scan."""

from __future__ import annotations

from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.change_tracking import queue_length
from dobby_dagster.store.source.source_relation import Source


def count_changed(store: CozoStore, source: Source) -> int:
    """Rows that were written since the last plan, where triggers note them; 0 where nothing does."""
    with store.connection.session():
        return queue_length(source)


def count_waiting(store: CozoStore, source: Source) -> int:
    """The rows of :func:`count_changed`, and what is planned and in no batch yet."""
    with store.connection.session():
        return queue_length(source) + store.counts.waiting(source.settings.relation)
