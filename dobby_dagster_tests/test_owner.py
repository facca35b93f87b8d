"""Who is alive: this process, another, a dead one, another host's."""

import os
import socket
import subprocess
import sys
import time

from dobby_dagster.domain.owner import is_alive, new_owner, retire, started


def test_an_owner_lives_until_it_retires() -> None:
    owner = new_owner()
    assert is_alive(owner, time.time())
    retire(owner)
    assert not is_alive(owner, time.time())


def test_an_owner_of_another_process_lives_as_long_as_the_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    began = started(process.pid)
    owner = f"{socket.gethostname()}/{process.pid}/{began:.2f}/token"
    try:
        assert is_alive(owner, time.time())
        assert not is_alive(f"{socket.gethostname()}/{process.pid}/{began - 100:.2f}/token", time.time())
    finally:
        process.kill()
        process.wait()
    assert not is_alive(owner, time.time())


def test_an_owner_on_another_host_has_an_hour() -> None:
    assert is_alive(f"elsewhere/{os.getpid()}/1.00/token", time.time() - 60)
    assert not is_alive(f"elsewhere/{os.getpid()}/1.00/token", time.time() - 4_000)
    assert not is_alive("nonsense", time.time())
