"""A server's error reply: what it says is wrong, whatever form it is in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from dobby_dagster.domain.http_reply import Reply
from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.secrets import redact

SHOWN = 200
_KEPT = 2_000
_BUSY = re.compile(r"rate.?limit|too many requests|overload|capacity|quota|try again|server.{0,20}busy", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """Why there is no completion.

    Attributes:
        status: The HTTP status; for an error in a reply of status 200 the one that it amounts to.
        message: The server's, in one line.
        param: The request's parameter that it is about, where the server names one.
        code: The server's own codes and types.
        limit: The size of the server's context in tokens, where it is given.
    """

    status: int
    message: str
    param: str = ""
    code: str = ""
    limit: int | None = None


def error_reply_of(reply: Reply) -> ErrorReply:
    """The error in ``reply``, whose status is not 200.

    >>> error_reply_of(Reply(404, {}, b'{"error": {"message": "no such model", "code": "not_found"}}')).message
    'no such model'
    """
    try:
        found = from_json(reply.body)
    except ValueError:
        found = reply.body[:100_000].decode(errors="replace")
    return from_content(reply.status, found)


def from_content(status: int | None, found: Any) -> ErrorReply:
    """The error in a reply's content, which is parsed JSON or text; without a status one is derived from it."""
    error = found.get("error") or found.get("detail") or found if isinstance(found, dict) else found
    about: dict[str, Any] = error if isinstance(error, dict) else {}
    message = shown(str(about.get("message") or about.get("msg") or error), _KEPT)
    words = [str(about.get(name) or "") for name in ("code", "type", "status")]
    limit = about.get("n_ctx")
    return ErrorReply(
        status=_status_of(words, message) if status is None else status,
        message=message,
        param=str(about.get("param") or ""),
        code=" ".join(word for word in words if word),
        limit=limit if isinstance(limit, int) and limit > 0 else None,
    )


def _status_of(words: list[str], message: str) -> int:
    """The HTTP status that an error in a reply of status 200 amounts to."""
    for word in words:
        if re.fullmatch("[45][0-9][0-9]", word):
            return int(word)
    return 429 if _BUSY.search(" ".join([*words, message])) else 500


def shown(text: str, longest: int = SHOWN) -> str:
    """``text`` in one line of at most ``longest`` characters, secrets removed before it is shortened."""
    return shortened(" ".join(redact(text[:100_000]).split()), longest)
