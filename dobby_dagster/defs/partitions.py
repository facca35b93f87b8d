"""The partitions: one a record batch, added as batches are planned."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dobby_dagster.domain.scope import BatchId
    from dobby_dagster.store.cozo_store import CozoStore

record_batch_partitions = dg.DynamicPartitionsDefinition(name="record_batches")


def backfill_policy(partitions_per_run: int) -> dg.BackfillPolicy:
    """A run takes up to so many neighbouring partitions, and loads the model once for all of them."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=partitions_per_run)


def add_partitions(instance: dg.DagsterInstance, store: "CozoStore") -> "list[BatchId]":
    """Add a partition for every batch that Dagster does not know yet; which those are.

    All that lack, not only the newest: a planner may have died between the database and Dagster.
    """
    name = str(record_batch_partitions.name)
    known = set(instance.get_dynamic_partitions(name))
    lacking = [batch.id for batch in store.versions.batches() if batch.id not in known]
    if lacking:
        instance.add_dynamic_partitions(name, lacking)
    return lacking
