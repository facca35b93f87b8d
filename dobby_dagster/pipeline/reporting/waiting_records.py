"""How many records the summaries lag behind the source, as far as that is known without reading contents."""

from __future__ import annotations

from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.change_tracking import queued_rows
from dobby_dagster.store.source.source_relation import Source


def count_waiting(store: CozoStore, source: Source) -> int:
    """Rows that were written since the last plan, where triggers note them, and what is planned and in no batch yet.

    A row that was written again with the content that it had counts.
    """
    with store.connection.session():
        return queued_rows(source) + store.counts.waiting(source.settings.relation)
