"""A Cozo server that is slow, down, strict or broken."""

import gzip
import json
import re
from collections.abc import Iterator

import pytest

from dobby_dagster.domain.errors import SourceError, StoreError, StoreFaultError, StoreUnavailableError
from dobby_dagster.domain.owner import new_owner, retire
from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connection import Params, Result
from dobby_dagster.store.database.http_connection import ATTEMPTS, FAILURES_TO_OPEN, HttpConnection
from dobby_dagster_tests.helpers.cozo_server import CozoServer, running_server
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done, source_with
from dobby_dagster_tests.helpers.model_server import Scripted

QUERY = "?[x] <- [[1]]"


@pytest.fixture
def server() -> Iterator[CozoServer]:
    with running_server() as server:
        yield server


def connection(server: CozoServer, **options: object) -> HttpConnection:
    settings = {"url": server.url, "timeout_seconds": 0.3} | options
    return HttpConnection(DatabaseSettings.model_validate(settings), backoff_seconds=0.001)


@pytest.mark.parametrize("trouble", [503, 429, 502, "drop", "hang"])
def test_a_transient_failure_is_retried(server: CozoServer, trouble: int | str) -> None:
    server.trouble = [trouble, trouble]
    assert connection(server).run(QUERY).rows == [[1]]
    assert server.requests >= 3


def test_a_lasting_failure_is_an_error_after_some_retries(server: CozoServer) -> None:
    server.trouble = [503] * 100
    with pytest.raises(StoreUnavailableError, match="answered 503"):
        connection(server).run(QUERY)
    assert server.requests <= ATTEMPTS


def test_the_circuit_opens_and_closes_again(server: CozoServer) -> None:
    client = connection(server)
    client._breaker.reset_timeout = 0.2
    server.trouble = [503] * FAILURES_TO_OPEN
    with pytest.raises(StoreUnavailableError):
        client.run(QUERY)
    asked = server.requests
    with pytest.raises(StoreUnavailableError, match="5 times in a row"):
        client.run(QUERY)
    assert server.requests == asked, "an open circuit sends no request"
    client._breaker.close()
    assert client.run(QUERY).rows == [[1]]


def test_an_unreachable_server_is_named() -> None:
    settings = DatabaseSettings(url="http://127.0.0.1:9", timeout_seconds=0.3)
    client = HttpConnection(settings, backoff_seconds=0.001)
    with pytest.raises(StoreUnavailableError, match=r"http://127.0.0.1:9 .*is the server up"):
        client.run(QUERY)


def test_a_refused_query_is_not_sent_again(server: CozoServer) -> None:
    with pytest.raises(StoreError, match="refused a query"):
        connection(server).run("nonsense")
    assert server.requests == 1


def test_the_token_is_sent_and_never_shown() -> None:
    with running_server(token="geheim") as server:
        assert connection(server, auth="geheim").run(QUERY).rows == [[1]]
        with pytest.raises(StoreError, match="token was refused") as caught:
            connection(server, auth="falsch").run(QUERY)
        assert "falsch" not in str(caught.value)


def test_an_answer_that_is_no_json(server: CozoServer) -> None:
    server.trouble = [500]
    with pytest.raises(StoreError, match="HTTP status 500"):
        connection(server).run(QUERY)


def test_restore_is_the_servers_own(server: CozoServer) -> None:
    with pytest.raises(StoreUnavailableError, match="--restore"):
        connection(server).restore("x")


def _scripted(body: object, headers: dict[str, str] | None = None) -> Scripted:
    return Scripted(lambda number, asked: (200, headers or {}, body))


@pytest.mark.parametrize(
    "body",
    [
        [], None, {}, {"ok": True}, {"ok": True, "headers": ["x"]}, {"ok": True, "headers": "x", "rows": []},
        {"ok": True, "headers": ["x"], "rows": [1]}, {"ok": True, "headers": ["x"], "rows": [[1, 2]]},
        {"ok": True, "headers": [1], "rows": []}, {"ok": False}, {"ok": False, "message": [1]}, {"ok": False, "code": 7},
        b"<html>", b"", b"[" * 200_000, b'{"ok": true, "headers": ["\\ud800"], "rows": []}',
    ],
)  # fmt: skip
def test_an_answer_of_another_server_is_one_line(body: object) -> None:
    with _scripted(body) as server, pytest.raises(StoreError, match="127.0.0.1"):
        HttpConnection(DatabaseSettings(url=server.url, timeout_seconds=5), backoff_seconds=0.001).run(QUERY)


def test_an_answer_that_grows_when_decompressed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.store.database.http_connection.LARGEST_ANSWER", 1_000_000)
    bomb = gzip.compress(b" " * 5_000_000)
    with _scripted(bomb, {"content-encoding": "gzip"}) as server, pytest.raises(StoreError, match="when decompressed"):
        HttpConnection(DatabaseSettings(url=server.url), backoff_seconds=0.001).run(QUERY)


def test_credentials_of_the_url_are_sent_to_a_proxy_before_the_server() -> None:
    with _scripted({"ok": True, "headers": ["x"], "rows": [[1]]}) as server:
        url = server.url.replace("http://", "http://user:pass-word@")
        assert HttpConnection(DatabaseSettings(url=url)).run(QUERY).rows == [[1]]
        assert server.keys == ["Basic dXNlcjpwYXNzLXdvcmQ="]


@pytest.mark.parametrize(
    ("asked", "came"), [("?[a, b] := *t{a, b}", "a"), ("?[a, count(b), max(c)] := *t{a, b, c}", "ab")]
)
def test_an_answer_of_another_width_than_was_asked_for_is_an_error(asked: str, came: str) -> None:
    from dobby_dagster.domain.http_reply import Reply

    class Strange(HttpConnection):
        def _answer(self, method: str, path: str, data: bytes | None) -> Reply:
            body = json.dumps({"ok": True, "headers": list(came), "rows": [[None] * len(came)]}).encode()
            return Reply(200, {}, body)

    with pytest.raises(StoreError, match=f"columns, got {len(came)}"):
        Strange(DatabaseSettings(url="http://127.0.0.1:9")).run(asked)


def test_what_is_sent_again_since_its_answer_was_lost_is_counted_once(
    server: CozoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CozoStore(connection(server))
    send, lost = store.connection.run, list[str]()

    def lose_the_answer(script: str, params: Params | None = None, *, write: bool = False) -> Result:
        if "dobby_total" in script and write:
            server.trouble = ["lost"]
            lost.append(script)
        return send(script, params, write=write)

    monkeypatch.setattr(store.connection, "run", lose_the_answer)
    source, batch, members = batch_of(store, {"a": "one", "b": "two", "c": "three"})
    commit(store, source, batch, [done(members[0], "one"), done(members[1], "two")])
    owner = new_owner()
    retire(owner)
    store.claims.claim(members[2:], owner, Scope(R, batch, RunId("run")))
    store.stalls.record(RunId("run"), StallKind.INFERENCE, 600.0)
    totals = store.totals.read()
    assert len(lost) == 2
    assert totals["records"] == {"completed": 2, "failed": 1}
    assert (totals["inferred"], totals["errors"], totals["stalls"]) == ({"": 2}, {"stalled": 1}, {"inference": 1})


def test_connections_are_kept_alive(server: CozoServer) -> None:
    store = CozoStore(connection(server))
    batch_of(store, {"a": "one", "b": "two"})
    assert server.requests > 20
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_replaced(server: CozoServer) -> None:
    client = connection(server)
    for _ in range(3):
        assert client.run(QUERY).rows == [[1]]
        server.close_connections()


def test_a_panic_of_the_server_blames_no_record(server: CozoServer) -> None:
    client = connection(server)
    client.run(":create r {k: String, at: Validity => v: String}", write=True)
    client.run(":create s {k: String}", write=True)
    client.run("?[k] <- [['x']] :put s {k}", write=True)
    with pytest.raises(StoreFaultError, match="panicked"):
        client.run("?[k] := *s{k}, not *r{k @ 'END'}")


@pytest.mark.parametrize("where", ["server", "client"])
def test_a_chunk_that_is_too_long_for_a_request_is_split_and_refused_by_name(
    server: CozoServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """``huge`` and ``large`` don't fit together, and ``huge`` does not fit alone."""
    store = CozoStore(connection(server, timeout_seconds=5))
    contents = {"huge": "x" * 300_000, "large": "y" * 100_000, "other": "z" * 100_000}
    source, batch, members = batch_of(store, contents)
    if where == "server":
        server.longest_request = 200_000
    else:
        monkeypatch.setattr("dobby_dagster.store.database.http_connection.LARGEST_REQUEST", 200_000)
    outcomes = [done(member, contents[member.version.key], batch) for member in members]
    commit(store, source, batch, outcomes)
    assert store.states.counts(Scope(R, batch))["completed"] == 2
    [failed] = store.states.failed("record", R)
    assert (failed["key"], failed["retry"]) == ("huge", "retry")
    assert re.search(r"a request of 3\d\d,\d+ bytes to http://127.0.0.1:\d+ is too long", failed["error"])


def test_rows_that_are_too_long_for_an_answer_are_read_in_parts(
    server: CozoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CozoStore(connection(server))
    contents = {f"k{i}": "x" * 30_000 for i in range(10)}
    source = source_with(store, {**contents, "huge": "x" * 200_000})
    monkeypatch.setattr("dobby_dagster.store.database.http_connection.LARGEST_ANSWER", 100_000)
    served = CozoStore(connection(server)).source(SourceSettings())
    assert {key: record.content for key, record in served.get(list(contents)).items()} == contents
    with pytest.raises(SourceError, match="the row with the key 'huge' of relation 'record' is too long"):
        served.get(["k1", "huge"])
    assert len(source.get(["k1", "huge"])) == 2
