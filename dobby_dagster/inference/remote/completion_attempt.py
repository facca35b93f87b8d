"""One attempt at a request to a model server, and the ways in which it can fail."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import BadAnswerError, NoAnswerError, Reply
from dobby_dagster.inference.remote.completion import Completion, read
from dobby_dagster.inference.remote.dialect import is_too_long
from dobby_dagster.inference.remote.error_reply import ErrorReply, error_reply_of, shown

# Too many requests for the server: a request is retried for as long as others are answered.
BUSY = {425, 429, 503, 529}
# Retries can't help: not implemented, or an unsupported version or method.
_FINAL = {501, 505}


class TooLongError(Exception):
    """The request does not fit the server's context; ``reply`` may tell its size."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply.message)
        self.reply = reply


class AttemptError(Exception):
    """A failed attempt; whether the server or the record is the cause is not known yet.

    Args:
        message: For people.
        began: When the attempt began, in seconds of the monotonic clock.
        retryable: Whether another attempt may succeed.
        reply: The server's error reply, if there was one.
        wait: Seconds that the server asks to wait.
    """

    def __init__(
        self,
        message: str,
        began: float,
        *,
        retryable: bool = False,
        reply: ErrorReply | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.began = began
        self.retryable = retryable
        self.reply = reply
        self.wait = wait

    @property
    def busy(self) -> bool:
        """Whether the server replied that it has too many requests."""
        return self.reply is not None and self.reply.status in BUSY


def attempt(http: HttpClient, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
    """A reply of status 200.

    Raises:
        AttemptError: There is no reply, or one of another status.
    """
    began = time.monotonic()
    try:
        reply = http.request(method, path, None if body is None else json.dumps(body).encode())
    except NoAnswerError as error:
        raise AttemptError(str(error), began, retryable=True) from None
    except BadAnswerError as error:
        raise AttemptError(str(error), began) from None
    if reply.status != 200:
        raise _error(error_reply_of(reply), reply, began)
    return reply


def attempt_completion(http: HttpClient, body: Mapping[str, Any]) -> Completion:
    """A valid chat completion.

    Raises:
        TooLongError: The request does not fit the server's context.
        AttemptError: There is no reply, an error, or a malformed completion.
    """
    began = time.monotonic()
    try:
        reply = attempt(http, "POST", "/chat/completions", body)
        found = read(reply)
        if isinstance(found, ErrorReply):
            raise _error(found, reply, began)
    except ValueError as error:
        raise AttemptError(f"the answer is malformed: {error}", began) from None
    except AttemptError as error:
        if error.reply and is_too_long(error.reply):
            raise TooLongError(error.reply) from None
        raise
    return found


def _error(error: ErrorReply, reply: Reply, began: float) -> AttemptError:
    status = error.status
    retryable = status in BUSY or status == 408 or (status >= 500 and status not in _FINAL)
    where = f"HTTP {reply.status}" if reply.status != 200 else f"an error in its answer, like HTTP {status}"
    message = f"{where}: {shown(error.message)}"
    return AttemptError(message, began, retryable=retryable, reply=error, wait=reply.retry_after)
