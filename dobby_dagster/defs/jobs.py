"""The asset jobs that sensors, schedules and the command line run."""

import dagster as dg

from dobby_dagster.defs.assets import PER_BATCH, record_batches
from dobby_dagster.defs.partitions import record_batch_partitions

plan_batches = dg.define_asset_job(
    "plan_batches",
    selection=dg.AssetSelection.assets(record_batches),
    description="Find new, changed and deleted rows, and cut them into batches.",
    executor_def=dg.in_process_executor,
)
summarize_batches = dg.define_asset_job(
    "summarize_batches",
    selection=dg.AssetSelection.assets(*PER_BATCH),
    partitions_def=record_batch_partitions,
    description="Summarise the pending records of the selected batches, derive outlines, index the summaries, and "
    "compute metrics.",
    executor_def=dg.in_process_executor,
)
