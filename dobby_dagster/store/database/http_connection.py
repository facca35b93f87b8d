"""CozoDB behind its HTTP server."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, TypeGuard

import pybreaker
from pydantic_core import from_json
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from dobby_dagster.domain.errors import (
    StoreAccessError,
    StoreError,
    StoreFaultError,
    StoreSizeError,
    StoreUnavailableError,
)
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import BadAnswerError, LongAnswerError, NoAnswerError, Reply
from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.secrets import basic_authorization
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozoscript.parameters import carried, check_parameters
from dobby_dagster.store.database.connection import Connection, Params, Result
from dobby_dagster.store.database.cozo_errors import message_of_response, translate
from dobby_dagster.store.database.drivers import Driver

ATTEMPTS = 5
FAILURES_TO_OPEN = 5
SECONDS_OPEN = 15.0
CONNECTIONS = 100
# Bytes: far more than a page of records, and little enough to fit in memory.
LARGEST_ANSWER = 1_000_000_000
LARGEST_REQUEST = 1_000_000_000
_HEAD = re.compile(r"\?\[([^\]]+)\]")
_COMMAND = re.compile(r"\s*::(\w+)")
# The least number of columns in the answers to commands whose columns are read by position.
_COLUMNS_OF_COMMANDS = {"columns": 4, "indices": 2, "explain": 5}
_ARGUMENTS = re.compile(r"\([^)]*\)")


class HttpConnection:
    """A Cozo server: timeouts, retries with exponential backoff, and a circuit breaker.

    A request that may have been executed is sent again: every script is a read, puts the same rows, is guarded by an
    assertion, or adds to counters only what it has not added before.

    Args:
        settings: Its address, its secrets, and the time for one whole answer.
        backoff_seconds: The first pause between two attempts; it doubles each time.
    """

    def __init__(self, settings: DatabaseSettings, backoff_seconds: float = 0.2) -> None:
        self.url = settings.url
        self.driver: Driver | None = None
        headers = {"x-cozo-auth": settings.auth.get_secret_value()} if settings.auth else {}
        if settings.credentials:
            headers["authorization"] = basic_authorization(settings.credentials)
        self._client = HttpClient(self.url, headers, settings.timeout_seconds, CONNECTIONS, LARGEST_ANSWER)
        self._backoff = backoff_seconds
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES_TO_OPEN, reset_timeout=SECONDS_OPEN, throw_new_error_on_trip=False
        )

    def run(self, script: str, params: Params | None = None, *, write: bool = False) -> Result:
        """See :class:`~dobby_dagster.store.database.connection.Connection`."""
        check_parameters(params or {}, write=write)
        sent, values = carried(script, params or {})
        answer = self._send("POST", "/text-query", {"script": sent, "params": values, "immutable": not write})
        headers, rows = answer.get("headers"), answer.get("rows")
        if not _are_strings(headers) or not _are_rows(rows, len(headers)):
            raise StoreFaultError(
                f"{self.url} is no Cozo server: its answer has no headers with rows of the same width"
            )
        least, most = _columns(script)
        if not write and not least <= len(headers) <= most:
            raise StoreFaultError(f"{self.url} is no Cozo server: expected {least} columns, got {len(headers)}")
        return Result(headers, rows)

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[None]:
        """See :class:`~dobby_dagster.store.database.connection.Connection`. The server owns the database: there is nothing to lock."""
        yield

    def backup(self, path: str) -> None:
        """See :class:`~dobby_dagster.store.database.connection.Connection`.

        Raises:
            StoreAccessError: The path is relative: to a folder of the server's, which nobody knows here.
        """
        if not (PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()):
            raise StoreAccessError(
                f"the server writes the backup on its own machine, and '{path}' is a relative path",
                hint="name an absolute path on the server",
            )
        self._send("POST", "/backup", {"path": path})

    @contextmanager
    def replacement(self) -> Iterator[Connection]:
        """See :class:`~dobby_dagster.store.database.connection.Connection`. Always raises: a server is restored from its own command line."""
        self.restore("")
        yield self

    def restore(self, path: str) -> None:
        """See :class:`~dobby_dagster.store.database.connection.Connection`. Always raises."""
        raise StoreUnavailableError(
            f"{self.url} can't be restored over HTTP", hint="stop it, and run: cozo server with --restore PATH"
        )

    def check(self) -> list[str]:
        """See :class:`~dobby_dagster.store.database.connection.Connection`."""
        return []

    def close(self) -> None:
        """See :class:`~dobby_dagster.store.database.connection.Connection`."""
        self._client.close()

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        if data is not None and len(data) > LARGEST_REQUEST:
            raise self._too_long(len(data), f"{LARGEST_REQUEST:,} bytes are the limit")
        trying = Retrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=self._backoff, max=10),
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        return trying(self._guarded, method, path, data)

    def _guarded(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        try:
            reply = self._breaker.call(self._answer, method, path, data)
        except pybreaker.CircuitBreakerError:
            raise StoreUnavailableError(
                f"{self.url} did not answer {FAILURES_TO_OPEN} times in a row; not asked again for {SECONDS_OPEN:g} s",
                hint="is the server up?",
            ) from None
        if reply.status == 413:
            raise self._too_long(len(data or b""), "the server answers 413")
        return self._decode(reply)

    def _too_long(self, length: int, why: str) -> StoreError:
        return StoreError(
            f"a request of {length:,} bytes to {self.url} is too long: {why}",
            hint="lower pipeline.chunk_size, or exclude such long contents; a proxy may have a limit of its own",
        )

    def _answer(self, method: str, path: str, data: bytes | None) -> Reply:
        try:
            reply = self._client.request(method, path, data)
        except NoAnswerError as error:
            raise StoreUnavailableError(f"{self.url} does not answer: {error}", hint="is the server up?") from None
        except LongAnswerError as error:
            raise StoreSizeError(f"{self.url}: {error}") from None
        except BadAnswerError as error:
            raise StoreFaultError(f"the server {self.url} answers as no Cozo server does: {error}") from None
        if reply.status in (429, 502, 503, 504):
            raise StoreUnavailableError(f"{self.url} answered {reply.status}")
        return reply

    def _decode(self, reply: Reply) -> dict[str, Any]:
        if reply.status in (401, 403):
            raise translate("the token was refused; set DOBBY_DATABASE_AUTH", self.url)
        try:
            answer = from_json(reply.body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            said = shortened(reply.body[:1_000].decode(errors="replace"), 200)
            raise StoreFaultError(
                f"{self.url} is no Cozo server: HTTP status {reply.status}, and no JSON object: {said}"
            )
        if not answer.get("ok"):
            error = translate(message_of_response(answer), self.url)
            if reply.status >= 500 and type(error) is StoreError:
                raise StoreFaultError(f"the server panicked: {error.message}")
            raise error
        return answer


def _columns(script: str) -> tuple[int, float]:
    """The least and the greatest number of columns in the answer to ``script``, a query or a command such as ``::columns``."""
    command = _COMMAND.match(script)
    if command:
        return _COLUMNS_OF_COMMANDS.get(command[1], 1), math.inf
    heads = _HEAD.findall(script)
    asked = len(_ARGUMENTS.sub("", heads[-1]).split(",")) if heads else 0
    return asked, asked or math.inf


def _are_strings(found: Any) -> TypeGuard[list[str]]:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _are_rows(found: Any, width: int) -> TypeGuard[list[list[Any]]]:
    return isinstance(found, list) and all(isinstance(row, list) and len(row) == width for row in found)
