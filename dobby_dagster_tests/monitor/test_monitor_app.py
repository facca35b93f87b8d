"""The routes: what they answer, whom they answer, and what the metrics say."""

from __future__ import annotations

import os
import re
import time

import pytest
from starlette.testclient import TestClient

from dobby_dagster.cli.server.listening_address import Names
from dobby_dagster.cli.server.request_guard import Guard
from dobby_dagster.domain.owner import owner_of
from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.monitor.dagster_services import DagsterServices
from dobby_dagster.monitor.monitor_app import monitor_app
from dobby_dagster.monitor.system_monitor import Monitor
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk, ChunkStats
from dobby_dagster.store.ledger.relations import OWNER, TOTAL
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.prometheus import DEPLOY, needs_prometheus, promtool
from dobby_dagster_tests.helpers.records import put

TOKEN = "a-secret-of-the-monitor"


@pytest.fixture
def client(sqlite_url: str, sqlite_store: CozoStore) -> TestClient:
    return client_of(sqlite_url)


def client_of(url: str, token: str | None = None, dagster: DagsterServices | None = None) -> TestClient:
    arguments = {"database.url": url, "monitor.limit_seconds": 0.5}
    monitor = Monitor(lambda memory: load_settings(arguments, environment={}, memory=memory).settings, dict, dagster)
    names = Names.of(["127.0.0.1"] if token is None else ["0.0.0.0"], ())
    return TestClient(Guard(monitor_app(monitor, token), names), base_url="http://127.0.0.1:3001")


def samples(client: TestClient) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_all_is_well(client: TestClient) -> None:
    for path in ("/health", "/ready"):
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["ok"] is True
        for part in answer.json()["parts"].values():
            assert part.keys() == {"ok", "message", "seconds"}
    assert client.head("/health").status_code == 200
    assert client.post("/health", json={}).status_code == 405


def test_a_database_that_comes_later_is_found(sqlite_url: str) -> None:
    client = client_of(sqlite_url)
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"]["database"]["ok"] is False
    assert answer.json()["parts"]["stalls"]["ok"] is None, "not known without the database"
    assert 'dobby_ready{part="stalls"}' not in samples(client)
    assert client.get("/health").status_code == 200
    assert 'dobby_ready{part="database"}' in samples(client), "what is known is exported all the same"
    CozoStore(CozoStore.open(Settings(database={"url": sqlite_url}).database).connection)
    time.sleep(0.6)
    assert client.get("/ready").status_code == 200


def test_a_web_server_that_does_not_answer_leaves_the_rest_unknown(sqlite_url: str, sqlite_store: CozoStore) -> None:
    client = client_of(sqlite_url, dagster=DagsterServices("http://127.0.0.1:9", "", 0.5, 120))
    answer = client.get("/ready")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert {name: parts[name]["ok"] for name in ("web server", "code location", "daemon")} == {
        "web server": False, "code location": None, "daemon": None,
    }  # fmt: skip
    assert 'dobby_ready{part="daemon"}' not in samples(client), "unknown is absent"


def test_others_see_whether_parts_work_and_nothing_else(sqlite_url: str, sqlite_store: CozoStore) -> None:
    client = client_of(sqlite_url, TOKEN)
    for path in ("/health", "/ready"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert all(part == {"ok": True} for part in answer.json()["parts"].values())
        assert "records.db" not in answer.text
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    allowed = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/metrics", headers=allowed).status_code == 200
    assert "records.db" in client.get("/ready", headers=allowed).text


def test_a_page_that_points_its_name_at_this_machine_is_refused(client: TestClient) -> None:
    assert client.get("/metrics", headers={"host": "attacker.example"}).status_code == 421
    assert client.get("/metrics", headers={"origin": "http://attacker.example"}).status_code == 403
    pod = client_of("sqlite:///none.db", TOKEN)
    assert pod.get("/health", headers={"host": "10.1.2.3:3001"}).status_code == 200, "a probe of Kubernetes"


@needs_prometheus
def test_metrics_are_named_as_prometheus_recommends(client: TestClient, sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "def f(): return 1", "b": "FAIL", "c": "UNSURE def g(): return 2"})
    run(sqlite_store, FakeEngine())
    promtool("check", "metrics", given=client.get("/metrics").text)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = client.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_metrics_are_those_of_the_ledger(client: TestClient, sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "def f(): return 1", "b": "FAIL", "c": "UNSURE def g(): return 2"})
    run(sqlite_store, FakeEngine())
    found = samples(client)
    assert found['dobby_records_total{state="completed"}'] == 2
    assert found['dobby_records_total{state="failed"}'] == 1
    assert found['dobby_errors_total{code="inference"}'] == 1
    assert found['dobby_errors_total{code="out_of_memory"}'] == 0
    assert 'dobby_tokens_total{kind="output"}' not in found, "the engine did not count those of every record"
    assert found["dobby_confidence_count"] == 1, "an unknown confidence is not counted"
    assert found["dobby_confidence_sum"] == pytest.approx(0.6065)
    assert found["dobby_record_duration_seconds_count"] == 2
    assert found["dobby_runs_in_progress"] == 0
    assert "dobby_slots" not in found, "unknown without a run"
    put(sqlite_store, {"d": "def h(): return 3"})
    run(sqlite_store, FakeEngine())
    time.sleep(0.6)
    found = samples(client)
    assert found['dobby_records_total{state="completed"}'] == 3
    assert found['dobby_tokens_total{kind="output"}'] == 5


def test_records_are_counted_soon(client: TestClient, sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "def f(): return 1", "b": "FAIL"})
    sqlite_store.recipes.remember(RECIPE)
    run(sqlite_store, FakeEngine())
    deadline = time.monotonic() + 20
    while 'dobby_current_records{state="completed"}' not in (found := samples(client)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found['dobby_current_records{state="completed"}'] == 1
    assert found['dobby_current_records{state="failed"}'] == 1
    assert found["dobby_quarantined_records"] == 0


def test_an_empty_database_exports_what_is_known(client: TestClient) -> None:
    found = samples(client)
    assert found['dobby_records_total{state="completed"}'] == 0
    assert not [
        name for name in found if name.startswith(("dobby_tokens", "dobby_confidence", "dobby_record_duration"))
    ]
    assert "dobby_last_commit_timestamp_seconds" not in found


def test_labels_are_bounded_whatever_is_stored(client: TestClient, sqlite_store: CozoStore) -> None:
    rows = [["errors", f'made up {number}"}}\n', 1.0] for number in range(100)]
    sqlite_store.connection.run(TOTAL.put(), {"rows": rows}, write=True)
    found = {name: value for name, value in samples(client).items() if name.startswith("dobby_errors_total")}
    assert found['dobby_errors_total{code="other"}'] == 100
    assert len(found) < 20


def test_a_stalled_run_is_a_failing_part_and_a_metric(client: TestClient, sqlite_store: CozoStore) -> None:
    row = [owner_of(os.getppid()), "batch-000001", "recipe", "run", time.time() - 9_000]
    sqlite_store.connection.run(OWNER.put(), {"rows": [row]}, write=True)
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"]["stalls"]["ok"] is False
    found = samples(client)
    assert found["dobby_stalled_runs"] == 1
    assert found["dobby_runs_in_progress"] == 1
    assert "dobby_requests_running" not in found, "nothing is known of a run that has committed nothing"


def test_the_figures_of_a_run_in_progress(client: TestClient, sqlite_store: CozoStore) -> None:
    source, batch, members = batch_of(sqlite_store, {"a": "one", "b": "two"})
    commit(sqlite_store, source, batch, [done(members[0], "one")])
    stats = ChunkStats(3.0, 4.0, [0.1], rss_bytes=1000, cpu_share=1.5, slots=8, slots_in_use=2.5)
    sqlite_store.chunks.commit(source, Chunk([done(members[1], "two")], stats), Scope(R, batch, RunId("run")))
    row = [owner_of(os.getppid()), batch, R, "run", time.time()]
    sqlite_store.connection.run(OWNER.put(), {"rows": [row]}, write=True)
    found = samples(client)
    assert found["dobby_runs_in_progress"] == 1
    assert (found["dobby_slots"], found["dobby_requests_running"]) == (8, 2.5)
    assert (found["dobby_memory_bytes"], found["dobby_cpu_cores"]) == (1000, 1.5)
    assert found["dobby_last_commit_timestamp_seconds"] == 4
    documentation = (DEPLOY.parent / "docs" / "monitoring.md").read_text()
    families = {name.partition("{")[0] for name in found if name.startswith("dobby_")}
    assert [
        name for name in families if not re.search(rf"`{re.sub('_(bucket|count|sum)$', '', name)}", documentation)
    ] == []
