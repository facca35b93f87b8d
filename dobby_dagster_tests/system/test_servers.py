"""``dobby dev`` on a Cozo server and on a PostgreSQL, both of which go away in between."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dobby_dagster.domain.errors import StoreUnavailableError
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.cozo_server import CozoServer, running_server
from dobby_dagster_tests.helpers.monitor_client import MonitorClient
from dobby_dagster_tests.helpers.postgres import Postgres, needs_postgres, postgres
from dobby_dagster_tests.helpers.webserver import Served, dagster_dev

__all__ = ["postgres"]
ROWS = 120


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CozoServer]:
    with running_server(engine="rocksdb", path=str(tmp_path / "server.db")) as server:
        yield server


def environment(tmp_path: Path, url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": url, "DAGSTER_HOME": str(tmp_path / "home"), "DOBBY_PIPELINE_BATCH_SIZE": "40",
        "DOBBY_PIPELINE_CHUNK_SIZE": "10", "DOBBY_AUTOMATION_INTERVAL_SECONDS": "2", "DOBBY_DATABASE_TIMEOUT_SECONDS": "10",
        "DOBBY_AUTOMATION_GATHER_SECONDS": "1", "DOBBY_AUTOMATION_RETRY_SECONDS": "1",
        "DOBBY_PIPELINE_FAILED_SHARE_LIMIT": "1", "DOBBY_INFERENCE_MAX_NEW_TOKENS": "12",
    }  # fmt: skip


def write(server: CozoServer, first: int, count: int) -> None:
    """Rows by a client that is not Dobby."""
    rows = [[f"k{i:04d}", f"def f{i}(a, b):\n    c = a * {i}\n    return b + c\n"] for i in range(first, first + count)]
    server.database.run("?[key, content] <- $rows :put record {key => content}", {"rows": rows})


def settled(store: CozoStore, rows: int) -> Callable[[], bool]:
    def done() -> bool:
        try:
            status = store.reports.status("record", store.recipes.latest())
        except StoreUnavailableError:
            return False
        return status["completed"] + status["failed"] + status["skipped"] == rows == status["records"]

    return done


def wait(served: Served, condition: Callable[[], Any], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            log = (served.folder / "dev.log").read_text()[-3_000:]
            raise AssertionError(f"{what}: not within {seconds:.0f} s\n{log}")
        time.sleep(0.5)


@pytest.mark.timeout(600)
@needs_postgres
def test_rows_on_a_server_become_summaries_with_dagster_in_postgres(
    server: CozoServer, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in postgres.environment.items():
        monkeypatch.setenv(name, value)
    home = postgres.home(tmp_path / "home")
    store = CozoStore.open(DatabaseSettings(url=server.url))
    write(server, 0, ROWS)
    with dagster_dev(tmp_path, environment(tmp_path, server.url)) as served:
        wait(served, settled(store, ROWS), "the first rows", 180)
        wait(served, lambda: len(store.batch_reports.metrics()) == 3, "their metrics", 120)
        monitor = MonitorClient.of_home(home)
        monitor.wait_until_ok("/ready")
        # PostgreSQL crashes, and is back.
        postgres.stop()
        postgres.start()
        # The Cozo server answers nothing but 503 for a while.
        server.trouble = [503] * 40
        write(server, ROWS, ROWS)
        wait(served, settled(store, 2 * ROWS), "the rows after a crash of PostgreSQL", 240)
        # All of Dobby's processes are killed; the services go on where they were.
        write(server, 2 * ROWS, ROWS)
        wait(served, lambda: served.of("worker"), "a worker", 120)
        served.kill(served.processes())
        served.start()
        wait(served, settled(store, 3 * ROWS), "the rows after a crash of Dobby", 240)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert "Postgres" in type(instance.event_log_storage).__name__
        assert len(instance.get_dynamic_partitions("record_batches")) >= 9
        [sensor] = [state for state in instance.all_instigator_state() if state.name == "new_records"]
        assert instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id, limit=1)
    assert store.check() == []
    assert store.reports.status("record", store.recipes.latest())["summaries"] > 2.5 * ROWS
