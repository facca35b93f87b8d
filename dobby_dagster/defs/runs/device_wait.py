"""How long a run waited until the device was free."""

import dagster as dg

# Of a run of the command line, which waits before Dagster knows of the run.
WAITED_TAG = "dobby/device_wait_seconds"


def device_wait_seconds(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float | None:
    """Seconds from the request of a run to its start, for the pool and for its process; None where that is unknown."""
    if WAITED_TAG in run.tags and run.parent_run_id is None:  # a run that is executed again has its parent's tags
        return float(run.tags[WAITED_TAG])
    record = instance.get_run_record_by_id(run.run_id)
    if record is None or record.start_time is None:
        return None
    return max(0.0, record.start_time - record.create_timestamp.timestamp())
