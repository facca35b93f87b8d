"""Which parameters a server supports: those that it refuses are left out, for the whole run."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Set
from threading import Lock
from typing import Any

from dobby_dagster.inference.remote.error_reply import ErrorReply

REFUSED = {400, 413, 422}
_log = logging.getLogger("dobby.server")
_log.setLevel(logging.WARNING)  # so that warnings show without --verbose

# Parameters that can be left out or replaced, and what that means for the summaries.
_MEANING = {
    "logprobs": "the confidence is unknown",
    "seed": "summaries may differ from run to run",
    "max_tokens": "max_completion_tokens is sent instead",
    "max_completion_tokens": "the server decides how long a summary may be",
    "temperature": "the server's own temperature is used",
    "top_p": "the server's own top_p is used",
    "top_k": "the server's own top_k is used",
    "repetition_penalty": "repeated tokens are not penalized",
    "stop": "the output is cut here",
    "stream": "it is not needed",
    "system": "the instruction goes into the user's message",
}
_NOT_KNOWN = re.compile(
    r"unsupported|not (?:\w+ )?support|un(?:known|recognized|expected)|not (?:permitted|allowed|available|implemented|"
    r"valid|accepted)|extra (?:inputs|fields)|invalid|deprecated|only the default|instead|does not|can(?:no|')t|must",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"system (?:role|message|prompt|instruction)|role.{0,5}system|roles must alternate", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"context.{0,3}(?:length|size|window)|(?:prompt|input|request|content|text|message)s?\b.{0,40}too (?:long|large)|"
    r"too many (?:input )?tokens|tokens? (?:limit|count) exceed|exceeds?.{0,40}(?:tokens|context)|"
    r"longer than the.{0,20}context|must be <=.{0,20}(?:given|tokens)|maximum.{0,20}(?:tokens|length)",
    re.IGNORECASE,
)
_LIMITS = (
    r"context (?:length|size|window)\D{0,30}([\d,]{3,})",
    r"(?:<=|maximum(?: is| of|:)?|limit(?: is| of|:)?|at most|only|n_ctx\D{0,4}) ?\(?([\d,]{3,})",
    r"([\d,]{3,}) (?:tokens? )?(?:maximum|max|limit)",
)
_NUMBER = re.compile(r"\d[\d,]{2,}")


class Dialect:
    """Which parameters a server refuses; shared by all requests of a run."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._refused: set[str] = set()

    def adapted(self, body: Mapping[str, Any], also_refused: Set[str] = frozenset()) -> dict[str, Any]:
        """``body`` without refused parameters, or with their replacements."""
        without = self._refused | also_refused
        adapted = {name: value for name, value in body.items() if name not in without}
        if "max_tokens" in without and "max_tokens" in body and "max_completion_tokens" not in without:
            adapted["max_completion_tokens"] = body["max_tokens"]
        if "system" in without:
            system, user = (message["content"] for message in body["messages"])
            adapted["messages"] = [{"role": "user", "content": f"{system}\n\n{user}"}]
        return adapted

    def learn(self, refused: Set[str]) -> None:
        """Leave these out from now on, since a request without them was answered."""
        with self._lock:
            new = refused - self._refused
            self._refused |= new
        for name in sorted(new):
            _log.warning("the model server does not support '%s', so it is left out: %s", name, _MEANING[name])


def refused_parameter(reply: ErrorReply, body: Mapping[str, Any]) -> str | None:
    """The parameter of the request ``body`` that the server refuses; None where the error is about something else."""
    if reply.status not in REFUSED:
        return None
    if len(body["messages"]) == 2 and _NO_SYSTEM.search(reply.message):
        return "system"
    sent = [name for name in _MEANING if name in body]
    if reply.param in sent:
        return reply.param
    named = [name for name in sent if re.search(rf"(?<![A-Za-z_]){name}(?![A-Za-z_])", reply.message)]
    if not named or not _NOT_KNOWN.search(reply.message):
        return None
    return min(named, key=reply.message.index)


def is_too_long(reply: ErrorReply) -> bool:
    """Whether the error is that the request does not fit the server's context."""
    if reply.status not in REFUSED | {500}:
        return False
    if "context_length" in reply.code or "context_size" in reply.code:
        return True
    return bool(_TOO_LONG.search(reply.message))


def share_that_fits(reply: ErrorReply, reserved: int) -> float:
    """Which share of the content fits, by the numbers in the error; a half where it has none.

    Args:
        reply: The server's.
        reserved: Tokens for the output.

    >>> share_that_fits(ErrorReply(400, "maximum context length is 1000 tokens, you requested 1900"), 100)
    0.45
    """
    numbers = [int(text.replace(",", "")[:12]) for text in _NUMBER.findall(reply.message)]
    limit = reply.limit or _limit(reply.message)
    requested = max(numbers, default=0)
    if limit is None or requested <= limit:
        return 0.5
    return min(0.9, max(0.01, 0.9 * (limit - min(reserved, limit // 2)) / (requested - min(reserved, limit // 2))))


def _limit(message: str) -> int | None:
    for pattern in _LIMITS:
        if found := re.search(pattern, message, re.IGNORECASE):
            return int(found[1].replace(",", "")[:12] or 0) or None
    return None
