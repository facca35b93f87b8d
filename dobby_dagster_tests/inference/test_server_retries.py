"""Errors of a model server: what passes is tried again, and what does not fails one record or stops the run."""

from typing import Any

import pytest

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import NoAnswerError
from dobby_dagster.domain.http_reply import Reply as Received
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster_tests.helpers.local_engines import PROMPT
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, ask, engine_at, said

BUSY = [
    {"error": {"message": "Rate limit exceeded: free-models-per-min", "code": 429}},
    {"error": {"message": "no", "code": "503"}},
    {"error": {"message": "The engine is currently overloaded", "type": "server_error"}},
    {"error": "Too many requests"},
    {"object": "error", "message": "rate_limit_exceeded"},
    {"choices": [{"message": {"content": ""}, "finish_reason": "error", "error": {"message": "Overloaded"}}]},
]


@pytest.mark.parametrize("body", BUSY)
def test_an_error_inside_an_answer_200_is_tried_again(body: dict[str, Any]) -> None:
    calls: list[int] = []

    def reply(number: int, asked: dict[str, Any]) -> Reply:
        calls.append(number)
        return (200, {}, body) if len(calls) == 1 else said()

    assert isinstance(ask(reply), Generation)
    assert len(calls) == 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, *range(520, 525), 529, 530, 599])
def test_passing_statuses_are_tried_again(status: int) -> None:
    first: list[int] = []

    def reply(number: int, asked: dict[str, Any]) -> Reply:
        first.append(number)
        return (status, {"retry-after": "0"}, b"<html>") if len(first) == 1 else said()

    assert isinstance(ask(reply), Generation)


@pytest.mark.parametrize(
    "wait", ["²", "9" * 400, "-5", "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", ""]
)
def test_any_retry_after_is_understood_or_ignored(wait: str) -> None:
    seconds = Received(429, {"retry-after": wait}, b"").retry_after
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422, 451, 501])
def test_a_refusal_of_one_record_is_not_the_servers_and_one_of_all_is(status: int) -> None:
    failure = ask((status, {}, {"error": {"message": "blocked by a filter"}}))
    assert isinstance(failure, Failure)
    assert f"HTTP {status}: blocked by a filter" in str(failure.error)
    with (
        Scripted(lambda n, body: (status, {}, {"error": "blocked"})) as server,
        pytest.raises(ModelError, match="blocked"),
    ):
        list(engine_at(server.url).infer([Request("r", "x")], PROMPT))


@pytest.mark.parametrize("wait", ["²", "0", "9" * 400])
def test_a_server_that_is_busy_for_one_record_only_fails_that_record(
    wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.ATTEMPTS", 2)
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.LONGEST_WAIT", 0.2)
    headers = {"retry-after": wait.encode().decode("latin-1")}
    failure = ask((429, headers, {"error": "tokens per minute: request too big"}))
    assert isinstance(failure, Failure)
    assert "failed on the record: HTTP 429" in str(failure.error)


def test_a_refused_connection_is_said_as_the_system_says_it() -> None:
    client = HttpClient("http://127.0.0.1:9", {}, 5, 1)
    with pytest.raises(NoAnswerError, match="^Connection refused$"):
        client.request("GET", "/")
    client.close()


def test_a_record_at_which_the_server_breaks_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.ATTEMPTS", 2)
    failure = ask((500, {"retry-after": "0"}, {"error": "CUDA error"}), slots=1)
    assert isinstance(failure, Failure)
    assert "failed on the record: HTTP 500: CUDA error" in str(failure.error)
