"""What is read from the answer of Dagster's web server; the real one answers in the tests of whole systems."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from dobby_dagster.defs.automation import alerts_sensor
from dobby_dagster.monitor.dagster_services import ALERTS, DagsterServices
from dobby_dagster.monitor.part_check import PartError, UnknownPartError
from dobby_dagster.pipeline.monitoring.alert_state import AlertState
from dobby_dagster.pipeline.monitoring.conditions import Condition, Kind, Reading


def entry(loaded: dict[str, Any] | None, status: str = "LOADED") -> dict[str, Any]:
    return {"name": "dobby", "loadStatus": status, "locationOrLoadError": loaded}


def location(cursor: str | None = None) -> dict[str, Any]:
    sensors = [{"name": "other", "sensorState": {"typeSpecificData": None}}]
    sensors += [{"name": ALERTS, "sensorState": {"typeSpecificData": {"lastCursor": cursor}}}]
    return {"__typename": "RepositoryLocation", "repositories": [{"sensors": sensors}]}


def data(entries: list[dict[str, Any]], beats: dict[str, float | None]) -> bytes:
    daemons = [{"daemonType": name, "required": True, "lastHeartbeatTime": at} for name, at in beats.items()]
    daemons.append({"daemonType": "UNUSED", "required": False, "lastHeartbeatTime": None})
    workspace = {"__typename": "Workspace", "locationEntries": entries}
    health = {"daemonHealth": {"allDaemonStatuses": daemons}}
    return json.dumps({"data": {"workspaceOrError": workspace, "instance": health}}).encode()


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[DagsterServices]:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield DagsterServices(f"http://127.0.0.1:{server.server_port}/", "", 5, 120)
        server.shutdown()


def test_all_is_well() -> None:
    with answering(data([entry(location())], {"SENSOR": time.time() - 20, "SCHEDULER": time.time()})) as services:
        assert services.web_server().endswith(" answers")
        assert services.code_location() == "dobby loaded"
        assert services.daemon().startswith("heartbeats of 2 daemons, the oldest 2")
        assert set((services.open_alerts() or {}).values()) == {0}


def test_what_is_wrong_is_said() -> None:
    error = {"__typename": "PythonError", "message": "outer", "causes": [{"message": "ValueError:\n the cause\n"}]}
    for entries, beats, message in (
        ([entry(error)], {}, "dobby can't be loaded: ValueError: the cause"),
        ([entry(None, "LOADING")], {}, "dobby is loading"),
        ([], {}, "there is no code location"),
        (
            [entry(location())],
            {"SENSOR": time.time() - 300, "SCHEDULER": time.time()},
            r"the last heartbeat of SENSOR was 30\d s",
        ),
        ([entry(location())], {"SENSOR": None}, "no heartbeat of SENSOR yet"),
    ):
        with answering(data(entries, beats)) as services, pytest.raises(PartError, match=message):
            services.code_location()
            services.daemon()


@pytest.mark.parametrize(("body", "status"), [(b"<html>", 200), (b"{}", 200), (b"no", 500), (b"[]", 200)])
def test_an_answer_of_another_program_fails_the_web_server_only(body: bytes, status: int) -> None:
    with answering(body, status) as services:
        with pytest.raises(PartError):
            services.web_server()
        with pytest.raises(UnknownPartError):
            services.daemon()
        assert services.open_alerts() is None


def test_a_web_server_that_is_late_is_said_to_give_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        services = DagsterServices(f"http://127.0.0.1:{deaf.getsockname()[1]}", "", 0.2, 120)
        with pytest.raises(PartError, match=r"http://127.0.0.1:\d+: no answer within"):
            services.web_server()
        with pytest.raises(UnknownPartError):
            services.daemon()


def test_open_alerts_are_those_in_the_cursor_of_the_sensor() -> None:
    assert alerts_sensor.NAME == ALERTS
    state = AlertState()
    state.update(Reading([Condition(Kind.DISK, "/", "full"), Condition(Kind.DISK, "/data", "full")]), [], now=1.0)
    with answering(data([entry(location(state.dump()))], {})) as services:
        found = services.open_alerts() or {}
    assert found.pop("disk") == 2
    assert found.keys() == {kind.value for kind in Kind} - {"disk"}
    assert set(found.values()) == {0}
