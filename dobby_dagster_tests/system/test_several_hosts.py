"""Several hosts on one database server: one dies, one is cut off, one is suspended, and every record is done once."""

from pathlib import Path

import pytest

from dobby_dagster_tests.helpers.host_network import reason_without_hosts
from dobby_dagster_tests.helpers.several_hosts import several_hosts

RECORDS = 160


@pytest.mark.skipif(bool(reason_without_hosts()), reason=reason_without_hosts())
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
        blue.relay.delay = 0.05
        system.start(red)
        system.wait(lambda: not system.holders() & {"green", "blue"}, "return of what the two had in progress")
        green.plug_in()
        blue.resume()
        system.finish()
        system.check(faults=3)
