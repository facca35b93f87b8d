"""The test server against the documented interface of ``cozo server``: the table of ``helpers/cozo_server.py``, row by row.

What a client can see of a single server runs against a real one too, see ``helpers/real_cozo_server.py``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dobby_dagster_tests.helpers.cozo_server import CozoServer, running_server
from dobby_dagster_tests.helpers.real_cozo_server import TOKEN, empty_real_server, needs_real_server

QUERY = "?[x] <- [[1]]"
TABLE = ":create t {k: Int => v: Any?}"


@pytest.fixture
def server() -> Iterator[CozoServer]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["test server", pytest.param("real server", marks=needs_real_server)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test server, then a real one."""
    if request.param == "real server":
        with empty_real_server() as url:
            yield url
    else:
        with running_server() as server:
            yield server.url


def ask(url: str, script: str, params: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
    body = {"script": script, "params": params or {}, **more}
    return httpx.post(f"{url}/text-query", json=body, headers={"x-cozo-auth": TOKEN})


def rows(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return reply.json()["rows"]


def test_a_query_is_answered_by_headers_and_rows(url: str) -> None:
    reply = ask(url, "?[x, y] <- [[$a, 'b']]", {"a": 1})
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert (body["ok"], body["headers"], body["rows"], body["next"]) == (True, ["x", "y"], [[1, "b"]], None)


def test_a_query_that_fails_is_answered_by_400_with_message_and_code(url: str) -> None:
    reply = ask(url, "?[x] := *nope{x}")
    body = reply.json()
    assert (reply.status_code, body["ok"]) == (400, False)
    assert body["code"] == "query::relation_not_found"
    assert "nope" in body["message"]
    assert "nope" in body["display"]


def test_immutable_refuses_a_write_and_is_false_where_it_is_missing(url: str) -> None:
    assert ask(url, TABLE, immutable=True).status_code == 400
    assert ask(url, TABLE).status_code == 200
    assert ask(url, "?[k, v] <- [[1, 'x']] :put t {k => v}", immutable=True).status_code == 400
    assert rows(ask(url, "?[k, v] <- [[1, 'x']] :put t {k => v}", immutable=False)) == [["OK"]]


def test_an_export_can_be_imported_where_the_relation_exists(server: CozoServer) -> None:
    ask(server.url, TABLE)
    ask(server.url, "?[k, v] <- [[1, 'x']] :put t {k => v}")
    exported = httpx.get(f"{server.url}/export/t").json()
    assert exported["ok"]
    assert (exported["data"]["t"]["headers"], exported["data"]["t"]["rows"]) == (["k", "v"], [[1, "x"]])
    with running_server() as other:
        refused = httpx.put(f"{other.url}/import", json=exported["data"])
        assert (refused.status_code, refused.json()["ok"]) == (400, False)
        ask(other.url, TABLE)
        assert httpx.put(f"{other.url}/import", json=exported["data"]).json() == {"ok": True}
        assert rows(ask(other.url, "?[k, v] := *t{k, v}")) == [[1, "x"]]


def test_a_backup_is_written_once_and_its_relations_are_imported(server: CozoServer, tmp_path: Path) -> None:
    ask(server.url, TABLE)
    ask(server.url, "?[k, v] <- [[1, 'x']] :put t {k => v}")
    path = str(tmp_path / "backup.db")
    assert httpx.post(f"{server.url}/backup", json={"path": path}).json() == {"ok": True}
    assert httpx.post(f"{server.url}/backup", json={"path": path}).status_code == 400
    with running_server() as other:
        ask(other.url, TABLE)
        imported = httpx.post(f"{other.url}/import-from-backup", json={"path": path, "relations": ["t"]})
        assert imported.json() == {"ok": True}
        assert rows(ask(other.url, "?[k, v] := *t{k, v}")) == [[1, "x"]]


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [({}, "", 401), ({"x-cozo-auth": "no"}, "", 401), ({"x-cozo-auth": "yes"}, "", 200), ({}, "?auth=yes", 200),
     ({}, "?auth=no", 401)],
)  # fmt: skip
def test_the_token_is_in_a_header_or_in_the_query(headers: dict[str, str], query: str, status: int) -> None:
    with running_server(token="yes") as server:
        body = {"script": QUERY, "params": {}}
        reply = httpx.post(f"{server.url}/text-query{query}", json=body, headers=headers)
        assert reply.status_code == status
        assert (reply.content == b"") == (status == 401)


def test_another_path_and_another_method(url: str) -> None:
    assert httpx.get(f"{url}/nope", headers={"x-cozo-auth": TOKEN}).json() == {"ok": False, "message": "No route /nope"}
    assert httpx.get(f"{url}/nope", headers={"x-cozo-auth": TOKEN}).status_code == 404
    assert httpx.get(f"{url}/text-query", headers={"x-cozo-auth": TOKEN}).status_code == 405
    assert httpx.post(f"{url}/import", json={}, headers={"x-cozo-auth": TOKEN}).status_code == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [("{", 400), ('{"script": "x"}', 422), ('{"params": {}}', 422), ('{"script": 1, "params": {}}', 422),
     ('{"script": "", "params": {"x": NaN}}', 400), ('{"script": "", "params": {"x": "\\ud83d"}}', 400),
     ('{"script": "", "params": {"x": ' + "[" * 126 + "]" * 126 + "}}", 400)],
)  # fmt: skip
def test_a_request_that_is_no_query(url: str, body: str, status: int) -> None:
    reply = httpx.post(
        f"{url}/text-query", content=body, headers={"content-type": "application/json", "x-cozo-auth": TOKEN}
    )
    assert reply.status_code == status
    with pytest.raises(ValueError):
        reply.json()


def test_a_request_without_its_type_or_too_long(server: CozoServer) -> None:
    body = json.dumps({"script": QUERY, "params": {}})
    assert httpx.post(f"{server.url}/text-query", content=body).status_code == 415
    server.longest_request = 10
    assert ask(server.url, QUERY).status_code == 413


@pytest.mark.parametrize(
    ("expression", "answer"),
    [("decode_base64('YWI=')", "YWI="), ("[decode_base64('YWI=')]", ["YWI="]), ("to_float('NAN')", None),
     ("to_float('INF')", "INFINITY"), ("to_float('NEG_INF')", "NEGATIVE_INFINITY"), ("1.0", 1.0),
     ("to_uuid('00000000-d055-469b-9807-ca7c971770bb')", "00000000-d055-469b-9807-ca7c971770bb"),
     ("validity(7, true)", [7, True]), ("vec([1, 2])", [1.0, 2.0]), ("json({'a': [1]})", {"a": [1]}),
     ("9223372036854775807", 2**63 - 1), ("null", None), ("true", True)],
)  # fmt: skip
def test_a_result_as_json(url: str, expression: str, answer: Any) -> None:
    [[value]] = rows(ask(url, f"?[x] := x = {expression}"))
    assert (type(value), value) == (type(answer), answer)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [(2**63, "9.223372036854776e18"), (1801439850948199.0, "1801439850948199.2"), (0.1, "0.1"), (1.0, "1.0"),
     ({"a": 1}, '{"a":1}'), ([1, [None]], "[1,[null]]")],
)  # fmt: skip
def test_a_parameter_from_json(url: str, sent: Any, stored: str) -> None:
    assert rows(ask(url, "?[x] := x = dump_json(json($v))", {"v": sent})) == [[stored]]


def test_a_connection_is_kept(server: CozoServer) -> None:
    with httpx.Client() as client:
        for _ in range(3):
            client.post(f"{server.url}/text-query", json={"script": QUERY, "params": {}})
            client.post(f"{server.url}/text-query", json={"script": "nonsense", "params": {}})
    assert (server.requests, server.connections) == (6, 1)


@pytest.mark.slow
def test_a_real_server_is_used_if_it_is_empty_and_left_empty() -> None:
    """A second test server in its place."""
    suite = Path(__file__).parent / "test_reading.py"
    with running_server(token="yes") as real:
        environment = {**os.environ, "DOBBY_TEST_COZO_SERVER": real.url, "DOBBY_TEST_COZO_SERVER_AUTH": "yes"}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "real and (entries or history or metrics)",
        ]
        done = subprocess.run([*command, suite], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "3 passed" in done.stdout
        assert real.database.run("::relations")["rows"] == []
        real.database.run(":create precious {k}")
        done = subprocess.run([*command, suite], env=environment, capture_output=True, text=True, check=False)
        assert "holds precious…: tests need a server without any relation" in done.stdout
        assert [row[0] for row in real.database.run("::relations")["rows"]] == ["precious"]
