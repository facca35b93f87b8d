"""Several hosts on one database server: one dies, one is cut off, one is suspended, and every record is done once."""

from pathlib import Path

import dagster as dg
import pytest

from dobby_dagster.defs.runs.crash_recovery import OWNER_TAG
from dobby_dagster_tests.helpers.host_network import reason_without_hosts
from dobby_dagster_tests.helpers.postgres import needs_postgres, running_postgres
from dobby_dagster_tests.helpers.several_hosts import several_hosts

RECORDS = 160


pytestmark = pytest.mark.skipif(bool(reason_without_hosts()), reason=reason_without_hosts())


def test_every_record_is_done_once_whatever_happens_to_the_hosts(tmp_path: Path) -> None:
    with several_hosts(tmp_path, ["red", "green", "blue"], RECORDS) as system:
        red, green, blue = system.hosts
        for host in system.hosts:
            system.start(host)
        for host in system.hosts:
            system.wait(lambda host=host: len(system.inferred(host)) > 4, f"work on {host.name}")
        assert len(system.holders()) > 1, "they infer at the same time"
        system.wait(lambda: "red" in system.holders(), "claim of red")
        red.kill()
        system.wait(lambda: "green" in system.holders(), "claim of green")
        green.unplug()
        system.wait(lambda: "blue" in system.holders(), "claim of blue")
        blue.suspend()
        blue.slow_down(0.05)
        system.start(red)
        system.wait(lambda: not system.holders() & {"green", "blue"}, "return of what the two had in progress")
        green.plug_in()
        blue.resume()
        system.finish()
        system.check(faults=3)


@needs_postgres
def test_hosts_that_share_dagsters_storage_infer_at_once_and_close_the_runs_of_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_postgres() as storage, several_hosts(tmp_path, ["red", "green"], RECORDS, storage) as system:
        red, green = system.hosts
        system.start(red)
        system.start(green)
        system.wait(lambda: system.holders() == {"red", "green"}, "claim of both at once")
        system.ahead = 0
        red.kill()
        for name, value in storage.environment.items():
            monkeypatch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(storage.home(tmp_path / "home"))) as instance:

            def runs(status: dg.DagsterRunStatus) -> set[str]:
                found = instance.get_runs(dg.RunsFilter(statuses=[status]))
                return {run.run_id for run in found if "red@" in run.tags.get(OWNER_TAG, "")}

            [cut_off] = runs(dg.DagsterRunStatus.STARTED)
            system.wait(lambda: cut_off in runs(dg.DagsterRunStatus.FAILURE), "end of the dead run")
        system.finish()
        system.check(faults=1)
