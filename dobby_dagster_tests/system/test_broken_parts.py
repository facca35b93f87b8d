"""Each part of a running ``dobby dev`` is broken in turn: health or readiness names it, and all is well again after."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import dobby_dagster
from dobby_dagster.domain.owner import owner_of
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.relations import OWNER
from dobby_dagster_tests.helpers.command import PROCESS
from dobby_dagster_tests.helpers.monitor_client import MonitorClient
from dobby_dagster_tests.helpers.records import prepared
from dobby_dagster_tests.helpers.webserver import Served, dagster_dev, free_port

PACKAGE = Path(dobby_dagster.__file__).parent


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A system of its own package, whose code a test can break; sensors are off."""
    folder = tmp_path_factory.mktemp("system")
    shutil.copytree(PACKAGE, folder / "code" / "dobby_dagster", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "dagster.yaml"):
        (folder / "code" / name).symlink_to(PACKAGE.parent / name)
    prepared(folder, 3)
    environment = {
        "DATABASE_URL": f"sqlite:///{folder}/records.db", "DAGSTER_HOME": str(folder / "home"),
        "DOBBY_AUTOMATION_ENABLED": "false", "DOBBY_MONITOR_LIMIT_SECONDS": "1", "PYTHONPATH": str(folder / "code"),
    }  # fmt: skip
    with dagster_dev(folder, environment) as served:
        yield served


@pytest.fixture
def monitor(system: Served) -> Iterator[MonitorClient]:
    """The monitor, before and after whose test all is well."""
    client = MonitorClient.of_home(Path(system.home))
    client.wait_until_ok("/health", 90)
    client.wait_until_ok("/ready", 90)  # the daemon's first heartbeats come within a minute
    yield client
    client.wait_until_ok("/health", 90)
    client.wait_until_ok("/ready", 90)


def test_a_database_that_is_moved_away(system: Served, monitor: MonitorClient) -> None:
    database = system.folder / "records.db"
    database.rename(system.folder / "moved.db")
    assert "there is no database" in monitor.wait_until_failing("/ready", "database")
    assert monitor.parts("/health")[0] == 200, "the processes live"
    (system.folder / "moved.db").rename(database)


def test_a_database_that_is_locked(system: Served, monitor: MonitorClient) -> None:
    store = CozoStore.open(DatabaseSettings(url=f"sqlite:///{system.folder}/records.db"))
    with store.connection.session(write=True):
        began = time.monotonic()
        message = monitor.wait_until_failing("/ready", "database")
        assert time.monotonic() - began < 10, "a database that hangs does not hang the endpoint"
    assert "locked" in message or "no answer within 1 s" in message


def test_a_database_that_is_damaged(system: Served, monitor: MonitorClient) -> None:
    database = system.folder / "records.db"
    sound = database.read_bytes()
    database.write_bytes(b"\0" * len(sound))
    monitor.wait_until_failing("/ready", "database")
    database.write_bytes(sound)


def test_a_settings_file_that_is_invalid(system: Served, monitor: MonitorClient) -> None:
    file = system.folder / "dobby.toml"
    file.write_text("[inference]\nslots = 0\n")
    assert "inference.slots = 0 is invalid" in monitor.wait_until_failing("/ready", "settings")
    file.unlink()


@pytest.mark.parametrize("name", ["code server", "daemon", "web server"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stopped(
    system: Served, monitor: MonitorClient, name: str, number: signal.Signals
) -> None:
    owner = psutil.Process(min(process.pid for process in system.of(name)))
    # A killed one is started again soon: it is killed until the monitor has seen it.
    deadline = time.monotonic() + 30
    owner.send_signal(number)
    try:
        while monitor.parts("/health")[1][name]["ok"]:
            assert time.monotonic() < deadline
        if number == signal.SIGSTOP:
            assert "is stopped by a signal" in monitor.wait_until_failing("/health", name)
            if name == "web server":
                assert "no answer within" in monitor.wait_until_failing("/ready", name)
    finally:
        if number == signal.SIGSTOP:
            owner.send_signal(signal.SIGCONT)


def test_a_code_location_that_can_not_be_loaded(system: Served, monitor: MonitorClient) -> None:
    module = system.folder / "code" / "dobby_dagster" / "definitions.py"
    sound = module.read_text()
    module.write_text("raise ValueError('broken on purpose')\n")
    system.kill(system.of("code server"))
    assert "broken on purpose" in monitor.wait_until_failing("/ready", "code location", 90)
    module.write_text(sound)
    system.kill(system.of("code server"))


def test_a_run_that_stalls(system: Served, monitor: MonitorClient) -> None:
    store = CozoStore.open(DatabaseSettings(url=f"sqlite:///{system.folder}/records.db"))
    with subprocess.Popen(["sleep", "300"]) as process:
        row = [owner_of(process.pid), "batch-000001", "recipe", "a-stalled-run", time.time() - 9_000]
        store.connection.run(OWNER.put(), {"rows": [row]}, write=True)
        assert "a-stalle of batch-000001" in monitor.wait_until_failing("/ready", "stalls")
        process.kill()


def test_a_monitor_beside_services_that_something_else_runs(system: Served, monitor: MonitorClient) -> None:
    port = free_port()
    where = ["-d", f"sqlite:///{system.folder}/records.db", "--port", str(port), "--dagster-url", system.url]
    with (system.folder / "monitor.log").open("w") as log:
        process = subprocess.Popen([*PROCESS, "monitor", *where], stdout=log, stderr=log, cwd=system.folder)
    try:
        own = MonitorClient(f"http://127.0.0.1:{port}")
        _wait_until_listening(own)
        own.wait_until_ok("/ready")
        status, parts = own.parts("/health")
        assert (status, list(parts)) == (200, ["monitor"])
        [server] = system.of("web server")
        server.suspend()
        try:
            assert "no answer within" in own.wait_until_failing("/ready", "web server")
            assert own.parts("/ready")[1]["daemon"]["ok"] is None
        finally:
            server.resume()
        own.wait_until_ok("/ready")
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()


def _wait_until_listening(client: MonitorClient) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.get("/health")
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


def test_the_supervisor_is_killed(tmp_path: Path) -> None:
    prepared(tmp_path, 3)
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db", "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_AUTOMATION_ENABLED": "false",
    }  # fmt: skip
    with dagster_dev(tmp_path, environment) as served:
        monitor = MonitorClient.of_home(tmp_path / "home")
        monitor.wait_until_ok("/health")
        os.kill(min(process.pid for process in served.of("supervisor")), signal.SIGKILL)
        assert "has ended" in monitor.wait_until_failing("/health", "dobby dev")
        served.kill(served.of("monitor"))
        served.start()
        MonitorClient.of_home(tmp_path / "home").wait_until_ok("/health")
