"""Who is alive: this process, another, a dead one, another host's."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import psutil
import pytest

from dobby_dagster.domain.host import this_host
from dobby_dagster.domain.owner import Renewal, host_of, is_alive, new_owner, on_this_host, retire, started


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


FORKING = """
    import os
    from dobby_dagster.domain.owner import is_alive, new_owner
    owner, (read, write), parent = new_owner(), os.pipe(), os.getpid()
    if not os.fork():
        os.write(write, str(is_alive(owner, 0.0)).encode())
        while os.getppid() == parent:
            pass
        print(is_alive(owner, 0.0), flush=True)
        os._exit(0)
    print(os.read(read, 100).decode(), flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows forks no process")
def test_a_process_that_was_forked_does_not_take_its_parents_owner_for_its_own() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKING)], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout == "True\nFalse\n", answer.stderr


def test_an_owner_on_another_host_has_an_hour() -> None:
    assert is_alive(f"elsewhere/{os.getpid()}/1.00/token", time.time() - 60)
    assert not is_alive(f"elsewhere/{os.getpid()}/1.00/token", time.time() - 4_000)
    assert not is_alive("nonsense", time.time())
    assert not is_alive(f"{socket.gethostname()}/{10**30}/1.00/token", time.time())


def test_an_owner_on_another_host_lives_as_long_as_it_renews_its_claims() -> None:
    host = this_host()
    elsewhere = [
        replace(host, boot="another boot"),  # another machine of the same name
        replace(host, processes="another process table"),  # a container with the same name, and the same pids
    ]
    for other in elsewhere:
        owner = f"{other}/{os.getpid()}/{started(os.getpid()):.2f}/token"
        assert not on_this_host(owner)
        assert is_alive(owner, 0.0, Renewal(5.0, 30.0, 29.0))
        assert not is_alive(owner, time.time(), Renewal(5.0, 30.0, 31.0))
        assert not is_alive(owner, 0.0)
    renamed = f"{replace(host, name='renamed')}/{os.getppid()}/{started(os.getppid()):.2f}/token"
    assert on_this_host(renamed), "a machine may get another name"
    assert is_alive(renamed, 0.0)
    assert host_of(renamed).name == "renamed"


def test_a_dead_process_that_was_not_reaped_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    owner = f"{socket.gethostname()}/{process.pid}/{started(process.pid):.2f}/token"
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert not is_alive(owner, time.time())
    process.communicate()


ADOPTING = """
    import ctypes, os, subprocess, sys, time
    import psutil
    from dobby_dagster.domain.owner import reap
    SUBREAPER = 36
    assert ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0) == 0
    own = subprocess.Popen(["sleep", "0"])
    os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
    shell = subprocess.run(["sh", "-c", "sleep 0 & echo $!"], capture_output=True, text=True)
    orphan = int(shell.stdout)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(orphan) and time.monotonic() < deadline:
        assert psutil.Process(orphan).ppid() == os.getpid()
        reap(kept=[own.pid])
        assert own.poll() == 0
        reap()
        time.sleep(0.01)
    print(psutil.pid_exists(orphan))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a test inherit orphans")
def test_orphans_that_a_process_inherits_are_collected_and_its_own_children_left_alone() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ADOPTING)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stdout == "False\n", answer.stderr
