"""The partitions: one a record batch, added as batches are planned."""

import dagster as dg

record_batch_partitions = dg.DynamicPartitionsDefinition(name="record_batches")
# A run takes up to so many neighbouring partitions, and loads the model once for all of them.
backfill_policy = dg.BackfillPolicy.multi_run(max_partitions_per_run=16)
