"""A DAGSTER_HOME on a volume that outlives its container: the next one serves it, once the first is surely gone."""

import os
import time
from dataclasses import replace
from pathlib import Path

from dobby_dagster.cli.server.served_home import FRESH_SECONDS, ServedHome
from dobby_dagster.domain.host import this_host
from dobby_dagster.domain.owner import new_owner, retire


def test_a_home_that_an_earlier_container_served_is_free_once_its_file_is_old(tmp_path: Path) -> None:
    earlier = replace(this_host(), processes="another process table")
    served = ServedHome(tmp_path / "served.json", f"{earlier}/1/2.00/x", "http://127.0.0.1:3000")
    served.write()
    assert ServedHome.read(tmp_path).is_running
    os.utime(served.path, (time.time() - FRESH_SECONDS - 1,) * 2)
    assert not ServedHome.read(tmp_path).is_running
    served.refresh()
    assert ServedHome.read(tmp_path).is_running, "its supervisor touches it while it lives"
    served.path.unlink()
    assert not served.is_running


def test_a_home_of_this_host_is_served_as_long_as_the_process_lives(tmp_path: Path) -> None:
    owner = new_owner()
    served = ServedHome(tmp_path / "served.json", owner)
    served.write()
    os.utime(served.path, (time.time() - FRESH_SECONDS - 1,) * 2)
    assert served.is_running
    retire(owner)
    assert not served.is_running
