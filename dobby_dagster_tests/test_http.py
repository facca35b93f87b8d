"""A Cozo server that is slow, down, strict or broken."""

from collections.abc import Iterator

import pytest

from dobby_dagster.domain.errors import StoreError, StoreUnavailableError
from dobby_dagster.store.http import ATTEMPTS, FAILURES_TO_OPEN, HttpConnection
from dobby_dagster_tests.cozo_server import CozoServer, running_server

QUERY = "?[x] <- [[1]]"


@pytest.fixture
def server() -> Iterator[CozoServer]:
    with running_server() as server:
        yield server


def connection(server: CozoServer, **options: object) -> HttpConnection:
    settings: dict = {"auth": None, "timeout_seconds": 0.3, "backoff_seconds": 0.001} | options
    return HttpConnection(server.url, **settings)


@pytest.mark.parametrize("trouble", [503, 429, 502, "drop", "hang"])
def test_passing_trouble_is_outlasted(server: CozoServer, trouble: int | str) -> None:
    server.trouble = [trouble, trouble]
    assert connection(server).run(QUERY).rows == [[1]]
    assert server.requests >= 3


def test_lasting_trouble_is_an_error_after_some_tries(server: CozoServer) -> None:
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
    assert server.requests == asked, "an open circuit asks nobody"
    client._breaker.close()
    assert client.run(QUERY).rows == [[1]]


def test_nobody_there_is_named() -> None:
    client = HttpConnection("http://127.0.0.1:9", None, 0.3, backoff_seconds=0.001)
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
