"""The commands on a database that a Cozo server has."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.monitor.monitor_app import monitor_app
from dobby_dagster.monitor.system_monitor import Monitor
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.cozo_server import CozoServer, running_server

SOURCE = "".join(f"def f{i}(path):\n    return open(path).read({i})\n\n\n" for i in range(6))


@pytest.fixture
def server() -> Iterator[CozoServer]:
    with running_server(token="a token of the server") as server:
        yield server


@pytest.mark.slow
def test_every_step_through_a_server(
    server: CozoServer, dobby: Dobby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.url)
    monkeypatch.setenv("DOBBY_DATABASE_AUTH", "a token of the server")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "m.py").write_text(SOURCE)

    def run(*arguments: object) -> str:
        answer = dobby(*arguments)
        assert answer.code == 0, (arguments, answer.err)
        return answer.out

    run("ingest", "tree")
    done = json.loads(run("summarize", "--json"))
    # Six functions, the outline of their file and that of the folder.
    assert (done["completed"], done["pending"]) == (8, 0)
    assert json.loads(run("status", "--json"))["completed"] == 8
    key = "tree/m.py::f3"
    assert key in run("show", key)
    assert "completed" in run("history", key)
    run("export", "--output", "summaries.csv")
    assert key in Path("summaries.csv").read_text()
    run("report", "--output", "report.html")
    assert json.loads(run("watch", "--once", "--json"))["runs"] == []
    assert "all hold" in run("doctor")
    # Changes come by triggers; what is deleted, edited and new is noticed.
    (tmp_path / "tree" / "m.py").write_text(SOURCE.replace("def f0(path)", "def f0(file)") + "def g():\n    return 1\n")
    run("ingest", "tree")
    again = json.loads(run("summarize", "--json"))
    # Two functions and their file; the folder as well if the file's summary reads differently.
    assert again["inferred"] in (3, 4), again
    run("purge", "--old", "--yes")


@pytest.mark.slow
def test_a_backup_is_on_the_server(
    server: CozoServer, dobby: Dobby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.url)
    monkeypatch.setenv("DOBBY_DATABASE_AUTH", "a token of the server")
    CozoStore.open(DatabaseSettings.model_validate({"url": server.url, "auth": "a token of the server"}))
    relative = dobby("backup", "copy.db")
    assert relative.code != 0
    assert "the server writes the backup on its own machine, and 'copy.db' is a relative path" in relative.err
    path = tmp_path / "copy.db"
    made = dobby("backup", path)
    assert made.code == 0
    assert f"the server wrote {path} on its own machine" in made.err
    refused = dobby("restore", path)
    assert refused.code != 0
    assert "cozo server with --restore" in refused.err
    restored = dobby("restore", path, "--database", "sqlite:///restored.db")
    assert restored.code == 0, restored.err


def test_the_monitor_reads_a_server(server: CozoServer) -> None:
    arguments = {"database.url": server.url, "database.auth": "a token of the server"}
    CozoStore.open(load_settings(arguments, environment={}).settings.database)
    monitor = Monitor(lambda memory: load_settings(arguments, environment={}, memory=memory).settings, dict, None)
    client = TestClient(monitor_app(monitor, None))
    assert client.get("/ready").json()["parts"]["database"]["ok"] is True
    assert "dobby_records" in client.get("/metrics").text
