"""CozoDB behind its HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pybreaker
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from dobby_dagster.domain.errors import StoreUnavailableError
from dobby_dagster.store.connection import Connection, Params, Result
from dobby_dagster.store.faults import message_of_response, translate

ATTEMPTS = 5
FAILURES_TO_OPEN = 5
SECONDS_OPEN = 15.0


class HttpConnection:
    """A Cozo server: time-outs, retries with back-off, and a circuit breaker.

    A request that may have been carried out is sent again: every script of Dobby's is either a read, a put of
    the same rows, or guarded by an assertion.

    Args:
        url: ``http(s)://HOST:PORT``.
        auth: The server's token, or None.
        timeout_seconds: For one answer.
        backoff_seconds: The first pause between two tries; it doubles.
    """

    def __init__(self, url: str, auth: str | None, timeout_seconds: float, backoff_seconds: float = 0.2) -> None:
        self.url = url.rstrip("/")
        headers = {"x-cozo-auth": auth} if auth else {}
        timeout = httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds))
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)
        self._backoff = backoff_seconds
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES_TO_OPEN, reset_timeout=SECONDS_OPEN, throw_new_error_on_trip=False
        )

    def run(self, script: str, params: Params | None = None, *, write: bool = False) -> Result:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        body = {"script": script, "params": dict(params or {}), "immutable": not write}
        answer = self._send(lambda: self._client.post("/text-query", json=body))
        return Result(answer["headers"], answer["rows"])

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[None]:
        """See :class:`~dobby_dagster.store.connection.Connection`. The server is the single owner: nothing to hold."""
        yield

    def export_relations(self, names: list[str]) -> dict[str, Any]:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        exported: dict[str, Any] = self._send(lambda: self._client.get(f"/export/{','.join(names)}"))["data"]
        return exported

    def backup(self, path: str) -> None:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        self._send(lambda: self._client.post("/backup", json={"path": path}))

    @contextmanager
    def replacement(self) -> Iterator[Connection]:
        """See :class:`~dobby_dagster.store.connection.Connection`. Never given."""
        self.restore("")
        yield self

    def restore(self, path: str) -> None:
        """A server restores on its own command line."""
        raise StoreUnavailableError(
            f"{self.url} can't be restored over HTTP", hint="stop it, and run: cozo server with --restore PATH"
        )

    def check(self) -> list[str]:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        return []

    def close(self) -> None:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        self._client.close()

    def _send(self, request: Callable[[], httpx.Response]) -> dict[str, Any]:
        trying = Retrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=self._backoff, max=10),
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        return trying(self._guarded, request)

    def _guarded(self, request: Callable[[], httpx.Response]) -> dict[str, Any]:
        try:
            response = self._breaker.call(self._answer, request)
        except pybreaker.CircuitBreakerError:
            raise StoreUnavailableError(
                f"{self.url} did not answer {FAILURES_TO_OPEN} times in a row; not asked again for {SECONDS_OPEN:g} s",
                hint="is the server up?",
            ) from None
        return self._decode(response)

    def _answer(self, request: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            response = request()
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise StoreUnavailableError(f"{self.url} does not answer: {reason}", hint="is the server up?") from error
        if response.status_code in (429, 502, 503, 504):
            raise StoreUnavailableError(f"{self.url} answered {response.status_code}")
        return response

    def _decode(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = response.json()
        except ValueError:
            answer = {"message": f"HTTP status {response.status_code}, and no JSON: {response.text[:200]}"}
        if response.status_code in (401, 403):
            answer = {"message": "the token was refused; set DOBBY_DATABASE_AUTH"}
        if not answer.get("ok"):
            raise translate(message_of_response(answer), self.url)
        return answer
