"""How many records the summaries lag behind the source, as far as that is known without a full scan."""

from __future__ import annotations

from dobby_dagster.pipeline.planning.differences import unplanned
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

# Rows that are read to see whether they changed: some milliseconds.
LOOKED_AT = 200


def count_waiting(store: CozoStore, source: Source) -> int:
    """Rows that are new or edited since the last plan, where triggers note it, and what is planned and in no batch yet.

    Where more than ``LOOKED_AT`` rows were written, those that have the content that they had count as well.
    """
    return unplanned(store, source, LOOKED_AT) + store.counts.waiting(source.settings.relation)
