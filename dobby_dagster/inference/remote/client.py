"""The HTTP side: time-outs, and tries again as the status and ``Retry-After`` say."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)  # fmt: skip

from dobby_dagster.domain.errors import InferenceError, ModelError, ModelServerError

ATTEMPTS = 6
LONGEST_WAIT = 60.0
# The server is busy, restarting, or in front of one that is; anything else will not be better for waiting.
PASSING = {408, 425, 429, 500, 502, 503, 504, 529}
_LARGEST_ANSWER = 8_000_000


class _PassingError(Exception):
    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class ServerClient:
    """Asks an OpenAI-compatible server; may be used by many threads at once.

    Args:
        url: The server's base URL, ``/v1`` included where it has one.
        key: Its key, or None.
        timeout_seconds: For one answer.
        connections: Requests at once, at most.
        backoff_seconds: The first pause between two tries; it doubles, up to a minute.
    """

    def __init__(
        self, url: str, key: str | None, timeout_seconds: float, connections: int, backoff_seconds: float = 0.5
    ) -> None:
        self.url = url
        self._backoff = backoff_seconds
        self._closed = threading.Event()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
        )

    def models(self) -> list[str]:
        """The names of the models that the server has.

        Raises:
            ModelServerError: It does not answer.
            ModelError: It refuses, or is no such server.
        """
        answer = self._send("GET", "/models", None)
        found = answer.get("data")
        if not isinstance(found, list):
            raise ModelError(
                f"{self.url} is no OpenAI-compatible server: /models has no data", hint="does it end in /v1?"
            )
        return [str(each.get("id")) for each in found if isinstance(each, dict)]

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One chat completion.

        Raises:
            InferenceError: The server refuses this request.
            ModelServerError: It does not answer, however often it was asked.
            ModelError: It refuses all requests: the key, the model's name, the path.
        """
        return self._send("POST", "/chat/completions", body)

    def close(self) -> None:
        """Close the connections; whoever waits to try again gives up."""
        self._closed.set()
        self._client.close()

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        tries = Retrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(self._closed),
            wait=self._wait,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            answer: dict[str, Any] = tries(self._once, method, path, body)
        except _PassingError as error:
            raise ModelServerError(
                f"the model server {self.url} does not answer: {error}", hint="start it, or name another with model.url"
            ) from None
        return answer

    def _wait(self, state: RetryCallState) -> float:
        """What the server asked for, else an exponential pause with some chance in it."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _PassingError) and error.wait is not None:
            return min(error.wait, LONGEST_WAIT)
        return float(wait_random_exponential(self._backoff, LONGEST_WAIT)(state))

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            response = self._client.request(method, self.url + path, json=body)
        except httpx.TransportError as error:
            raise _PassingError(str(error) or type(error).__name__) from None
        if response.status_code in PASSING:
            raise _PassingError(f"HTTP {response.status_code}: {_reason(response)}", _retry_after(response))
        if response.status_code in (400, 413, 422):
            raise InferenceError(
                f"the model server refused the record: HTTP {response.status_code}: {_reason(response)}"
            )
        if response.status_code != 200:
            raise ModelError(
                f"the model server {self.url} answered HTTP {response.status_code}: {_reason(response)}",
                hint="check model.url, model.served_name and model.api_key",
            )
        if len(response.content) > _LARGEST_ANSWER:
            raise InferenceError(f"the model server's answer is too large: {len(response.content):,} bytes")
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ModelError(f"{self.url} is no OpenAI-compatible server: it answered no JSON object")
        return answer


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _reason(response: httpx.Response) -> str:
    """What the server says is wrong, in one line."""
    try:
        answer = response.json()
        error = answer.get("error", answer.get("detail", answer)) if isinstance(answer, dict) else answer
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except ValueError:
        text = response.text
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."
