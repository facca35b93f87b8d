"""Requests to a model server, with retries; errors of the server are told apart from those of a record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Set
from typing import Any, TypeVar

from pydantic import BaseModel
from tenacity import RetryCallState, Retrying, retry_if_exception, sleep_using_event
from tenacity.wait import wait_random_exponential

from dobby_dagster.domain import heartbeat
from dobby_dagster.domain.errors import InferenceError, ModelError, ModelServerError
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.secrets import basic_authorization
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.remote.completion import Completion, parsed, validated
from dobby_dagster.inference.remote.completion_attempt import AttemptError, TooLongError, attempt, attempt_completion
from dobby_dagster.inference.remote.dialect import REFUSED, Dialect, refused_parameter

ATTEMPTS = 6
# For a request that fails while others are answered.
ATTEMPTS_BESIDE_OTHERS = 3
LONGEST_WAIT = 60.0

T = TypeVar("T")


class _Listed(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Listed]


class ServerClient:
    """A client of an OpenAI-compatible server; thread-safe.

    A request that fails in every attempt is an error of its record if the server answered others in the meantime, or
    answers ``probe`` now; else it is an error of the server.

    Args:
        settings: The server's URL, including ``/v1`` where it has one, its key, and the time limit of a whole answer.
        connections: Requests at once, at most.
        probe: Makes the body of a request that a server with the model answers.
        backoff_seconds: Before the second attempt; it grows exponentially, up to a minute.
    """

    def __init__(
        self,
        settings: ModelSettings,
        connections: int,
        probe: Callable[[], Mapping[str, Any]],
        backoff_seconds: float = 0.5,
    ) -> None:
        self.url = settings.url
        self._backoff = backoff_seconds
        self._probe = probe
        self._dialect = Dialect()
        self._closed = threading.Event()
        self._probing = threading.Lock()
        self._answered_at = float("-inf")
        self._progress_at = float("-inf")  # without probes
        self._http = HttpClient(self.url, _authorization(settings), settings.timeout_seconds, connections)

    def models(self) -> list[str]:
        """The names of the models that the server has.

        Raises:
            ModelServerError: It does not answer.
            ModelError: It refuses, or is not an OpenAI-compatible server.
        """
        try:
            reply = self._retried(lambda: attempt(self._http, "GET", "/models"))
            return [model.id for model in validated(_Models, parsed(reply.body)).data]
        except AttemptError as error:
            raise self._server_error(error) from None
        except ValueError as error:
            raise ModelError(
                f"{self.url} is not an OpenAI-compatible server: its answer to /models: {error}",
                hint="does model.url end in /v1?",
            ) from None

    def complete(self, body: Mapping[str, Any]) -> Completion:
        """One chat completion.

        Raises:
            TooLongError: The request does not fit the server's context.
            InferenceError: The server fails on this request only.
            ModelServerError: It does not answer in any attempt.
            ModelError: It refuses all requests: the key, the model's name, the path.
        """
        refused: set[str] = set()
        while True:
            adapted = self._dialect.adapted(body, refused)
            try:
                completion = self._retried(lambda adapted=adapted: self._completion(adapted))  # type: ignore[misc]
            except AttemptError as error:
                name = refused_parameter(error.reply, adapted) if error.reply else None
                if name is not None:
                    refused.add(name)
                    continue
                if not self._answers_others(error.began, refused):
                    raise self._server_error(error) from None
                verb = "refused" if error.reply and error.reply.status in REFUSED else "failed on"
                raise InferenceError(f"the model server {verb} the record: {error}") from None
            self._dialect.learn(refused)
            self._progress_at = time.monotonic()
            return completion

    def close(self) -> None:
        """Close the connections; requests in progress and retries are given up."""
        self._closed.set()
        self._http.close()

    def _retried(self, ask: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, AttemptError) and error.retryable),
            stop=lambda state: self._closed.is_set() or self._is_last(state),
            wait=self._wait,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )
        return retrying(ask)

    def _is_last(self, state: RetryCallState) -> bool:
        """Whether to stop retrying; a busy server is retried for as long as it answers other requests."""
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, AttemptError):
            return True
        if error.busy and time.monotonic() - self._progress_at < LONGEST_WAIT:
            return False
        return state.attempt_number >= (ATTEMPTS if self._answered_at < error.began else ATTEMPTS_BESIDE_OTHERS)

    def _wait(self, state: RetryCallState) -> float:
        """Seconds to wait: as the server asks, else with exponential backoff and jitter."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, AttemptError) and error.wait is not None:
            return min(error.wait, LONGEST_WAIT)
        return float(wait_random_exponential(self._backoff, LONGEST_WAIT)(state))

    def _completion(self, body: Mapping[str, Any]) -> Completion:
        try:
            completion = attempt_completion(self._http, body)
        finally:
            heartbeat.token()  # also of an attempt that failed: its own time limit ended it
        self._answered_at = time.monotonic()
        return completion

    def _answers_others(self, since: float, refused: Set[str]) -> bool:
        """Whether the server answered a request after ``since``, or answers the probe now."""
        with self._probing:
            if self._answered_at < since and not self._closed.is_set():
                try:
                    self._completion(self._dialect.adapted(self._probe(), refused))
                except (AttemptError, TooLongError):
                    return False
            return self._answered_at >= since

    def _server_error(self, error: AttemptError) -> ModelError:
        if error.retryable:
            return ModelServerError(
                f"the model server {self.url} does not answer: {error}", hint="start it, or name another with model.url"
            )
        if error.reply is None:
            return ModelError(
                f"{self.url} is not an OpenAI-compatible server: {error}",
                hint="does model.url end in /v1, and is it running?",
            )
        return ModelError(
            f"the model server {self.url} answered {error}",
            hint="check model.url, model.served_name and model.api_key",
        )


def _authorization(settings: ModelSettings) -> dict[str, str]:
    if settings.api_key:
        return {"authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    return {"authorization": basic_authorization(settings.credentials)} if settings.credentials else {}
