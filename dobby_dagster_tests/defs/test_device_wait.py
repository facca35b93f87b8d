"""How long a run waited for the device, and when that is unknown."""

import dagster as dg

from dobby_dagster.defs.runs.device_wait import WAITED_TAG, device_wait_seconds


def test_a_run_that_is_executed_again_did_not_wait_as_long_as_the_first() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = dg.DagsterRun("summarize", tags={WAITED_TAG: "7.5"})
        again = dg.DagsterRun("summarize", tags=first.tags, parent_run_id=first.run_id, root_run_id=first.run_id)
        assert device_wait_seconds(instance, first) == 7.5
        assert device_wait_seconds(instance, again) is None, "Dagster copies tags"
