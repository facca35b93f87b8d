"""The partitions: one per record batch, added when batches are planned."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dobby_dagster.domain.scope import BatchId
    from dobby_dagster.store.cozo_store import CozoStore

record_batch_partitions = dg.DynamicPartitionsDefinition(name="record_batches")


def backfill_policy(partitions_per_run: int) -> dg.BackfillPolicy:
    """Runs of up to ``partitions_per_run`` neighbouring partitions, each of which loads the model once."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=partitions_per_run)


def add_partitions(instance: dg.DagsterInstance, store: "CozoStore") -> "list[BatchId]":
    """Add a partition for each batch that has none, and return those batches.

    Older batches can be among them: a planner may have died between writing to the database and to Dagster.
    """
    name = str(record_batch_partitions.name)
    known = set(instance.get_dynamic_partitions(name))
    missing = [batch.id for batch in store.versions.batches() if batch.id not in known]
    if missing:
        instance.add_dynamic_partitions(name, missing)
    return missing
