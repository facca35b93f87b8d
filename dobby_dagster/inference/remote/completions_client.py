"""Requests to a model server: tried again as it says; its own faults are kept apart from those of a record."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Set
from typing import Any, TypeVar

from pydantic import BaseModel
from tenacity import RetryCallState, Retrying, retry_if_exception, sleep_using_event
from tenacity.wait import wait_random_exponential

from dobby_dagster.domain.errors import InferenceError, ModelError, ModelServerError
from dobby_dagster.domain.http_client import BadAnswerError, HttpClient, NoAnswerError, Reply
from dobby_dagster.domain.secrets import basic_authorization
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.remote.completion import Completion, Trouble, parsed, read, shown, trouble_of, validated
from dobby_dagster.inference.remote.dialect import REFUSED, Dialect, is_too_long, refused_parameter

ATTEMPTS = 6
# Of a request that fails while others are answered.
ATTEMPTS_BESIDE_OTHERS = 3
LONGEST_WAIT = 60.0
# The server says that it has too much to do: a request waits as long as others are answered.
BUSY = {425, 429, 503, 529}
# It will never do better: not implemented, and versions and methods that it does not speak.
_FINAL = {501, 505}


T = TypeVar("T")


class TooLongError(Exception):
    """The request does not fit the server's context; ``trouble`` holds what the server says of it."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


class _FaultError(Exception):
    """A try that failed, by the server's fault or the record's: that is not known yet.

    Args:
        message: What happened, in words.
        began: When the try began, by the monotonic clock.
        again: Whether it may be better at another try.
        trouble: What the server said, where it said something.
        wait: Seconds that it asks to wait.
    """

    def __init__(
        self,
        message: str,
        began: float,
        *,
        again: bool = False,
        trouble: Trouble | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.began = began
        self.again = again
        self.trouble = trouble
        self.wait = wait

    @property
    def busy(self) -> bool:
        """Whether the server says that it has too much to do."""
        return self.trouble is not None and self.trouble.status in BUSY


class _Listed(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Listed]


class ServerClient:
    """Asks an OpenAI-compatible server; may be used by many threads at once.

    A request that fails, however often it is tried, is the record's fault if the server answers others meanwhile, or
    answers ``probe`` now; else it is the server's.

    Args:
        settings: The server's URL, ``/v1`` included where it has one, its key, and the time for one whole answer.
        connections: Requests at once, at most.
        probe: Makes a request that any server which runs the model answers.
        backoff_seconds: The first pause between two tries; it doubles, up to a minute.
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
        self._progress_at = float("-inf")  # the same, without probes
        self._http = HttpClient(self.url, _authorization(settings), settings.timeout_seconds, connections)

    def models(self) -> list[str]:
        """The names of the models that the server has.

        Raises:
            ModelServerError: It does not answer.
            ModelError: It refuses, or is no such server.
        """
        try:
            reply = self._tried(lambda: self._reply("GET", "/models", None))
            return [model.id for model in validated(_Models, parsed(reply.body)).data]
        except _FaultError as fault:
            raise self._servers_fault(fault) from None
        except ValueError as error:
            raise ModelError(
                f"{self.url} is no OpenAI-compatible server: its answer to /models: {error}",
                hint="does model.url end in /v1?",
            ) from None

    def complete(self, body: Mapping[str, Any]) -> Completion:
        """One chat completion.

        Raises:
            TooLongError: The request does not fit the server's context.
            InferenceError: The server fails on this request alone.
            ModelServerError: It does not answer, however often it was asked.
            ModelError: It refuses all requests: the key, the model's name, the path.
        """
        refused: set[str] = set()
        while True:
            said = self._dialect.spoken(body, refused)
            try:
                completion = self._tried(lambda said=said: self._completion(said))  # type: ignore[misc]
            except _FaultError as fault:
                name = refused_parameter(fault.trouble, said) if fault.trouble else None
                if name is not None:
                    refused.add(name)
                    continue
                if not self._answers_others(fault.began, refused):
                    raise self._servers_fault(fault) from None
                verb = "refused" if fault.trouble and fault.trouble.status in REFUSED else "failed on"
                raise InferenceError(f"the model server {verb} the record: {fault}") from None
            self._dialect.learn(refused)
            self._progress_at = time.monotonic()
            return completion

    def close(self) -> None:
        """Close the connections; whoever waits, for an answer or to try again, gives up."""
        self._closed.set()
        self._http.close()

    def _tried(self, ask: Callable[[], T]) -> T:
        tries = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _FaultError) and error.again),
            stop=lambda state: self._closed.is_set() or self._is_hopeless(state),
            wait=self._wait,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )
        return tries(ask)

    def _is_hopeless(self, state: RetryCallState) -> bool:
        """Whether another try makes no sense; a busy server that answers others is waited for as long as it does."""
        fault = state.outcome.exception() if state.outcome else None
        if not isinstance(fault, _FaultError):
            return True
        if fault.busy and time.monotonic() - self._progress_at < LONGEST_WAIT:
            return False
        return state.attempt_number >= (ATTEMPTS if self._answered_at < fault.began else ATTEMPTS_BESIDE_OTHERS)

    def _wait(self, state: RetryCallState) -> float:
        """What the server asked for, else an exponential pause with some chance in it."""
        fault = state.outcome.exception() if state.outcome else None
        if isinstance(fault, _FaultError) and fault.wait is not None:
            return min(fault.wait, LONGEST_WAIT)
        return float(wait_random_exponential(self._backoff, LONGEST_WAIT)(state))

    def _reply(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        began = time.monotonic()
        try:
            reply = self._http.request(method, path, None if body is None else json.dumps(body).encode())
        except NoAnswerError as error:
            raise _FaultError(str(error), began, again=True) from None
        except BadAnswerError as error:
            raise _FaultError(str(error), began) from None
        if reply.status != 200:
            raise self._fault(trouble_of(reply), reply, began)
        return reply

    def _completion(self, body: Mapping[str, Any]) -> Completion:
        began = time.monotonic()
        try:
            reply = self._reply("POST", "/chat/completions", body)
            found = read(reply)
            if isinstance(found, Trouble):
                raise self._fault(found, reply, began)
        except ValueError as error:
            raise _FaultError(f"the answer is malformed: {error}", began) from None
        except _FaultError as fault:
            if fault.trouble and is_too_long(fault.trouble):
                raise TooLongError(fault.trouble) from None
            raise
        self._answered_at = time.monotonic()
        return found

    def _fault(self, trouble: Trouble, reply: Reply, began: float) -> _FaultError:
        status = trouble.status
        again = status in BUSY or status == 408 or (status >= 500 and status not in _FINAL)
        told = f"HTTP {reply.status}" if reply.status != 200 else f"an error in its answer, like HTTP {status}"
        return _FaultError(
            f"{told}: {shown(trouble.message)}", began, again=again, trouble=trouble, wait=reply.retry_after
        )

    def _answers_others(self, since: float, refused: Set[str]) -> bool:
        """Whether a request was answered since that time, or the probe is now."""
        with self._probing:
            if self._answered_at < since and not self._closed.is_set():
                try:
                    self._completion(self._dialect.spoken(self._probe(), refused))
                except (_FaultError, TooLongError):
                    return False
            return self._answered_at >= since

    def _servers_fault(self, fault: _FaultError) -> ModelError:
        if fault.again:
            return ModelServerError(
                f"the model server {self.url} does not answer: {fault}", hint="start it, or name another with model.url"
            )
        if fault.trouble is None:
            return ModelError(
                f"{self.url} is no OpenAI-compatible server: {fault}", hint="does model.url end in /v1, and is it up?"
            )
        return ModelError(
            f"the model server {self.url} answered {fault}",
            hint="check model.url, model.served_name and model.api_key",
        )


def _authorization(settings: ModelSettings) -> dict[str, str]:
    if settings.api_key:
        return {"authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    return {"authorization": basic_authorization(settings.credentials)} if settings.credentials else {}
