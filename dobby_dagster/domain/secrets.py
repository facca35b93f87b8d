"""Secrets: their types in settings, and their redaction from every text.

A secret enters the process in one place, the settings, which :func:`learn` it. From then on :func:`redact` replaces it
with ``***``: in every :class:`~dobby_dagster.domain.errors.DobbyError`, in every log record of the process, in the
answers of a model server, and in the errors that Dagster stores.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import cache
from threading import Lock
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

MASK = "***"
# Shorter values are placeholders ("none", "dummy") that occur in ordinary text.
SHORTEST = 6
# Shorter secrets are replaced as whole words only: a key "token" must not break "tokenizer".
_SHORTEST_ANYWHERE = 12
_SHORTEST_ARGUMENT = 8
_HOST = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,10}|[0-9]+(\.[0-9]+){3}|\[[0-9a-f:]+\])(:[0-9]+)?")

_lock = Lock()
_known: set[str] = set()
_guarded = False


def learn(secret: str) -> None:
    """Remember ``secret`` and its encoded forms, so that :func:`redact` finds them."""
    forms = {secret, secret.strip(), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    with _lock:
        _known.update(form for form in forms if len(form) >= SHORTEST)
        _pattern.cache_clear()
    _guard_logs()


def redact(text: str, shortest: int = SHORTEST) -> str:
    """``text`` with every known secret of at least ``shortest`` characters replaced.

    >>> learn("sk-0123456789abcdef")
    >>> redact("Incorrect API key: sk-0123456789abcdef.")
    'Incorrect API key: ***.'
    """
    pattern = _pattern(shortest)
    return pattern.sub(MASK, text) if pattern is not None else text


@cache
def _pattern(shortest: int) -> re.Pattern[str] | None:
    with _lock:
        secrets = sorted((s for s in _known if len(s) >= shortest), key=len, reverse=True)
    if not secrets:
        return None
    whole = r"(?<![A-Za-z0-9_]){}(?![A-Za-z0-9_])"
    return re.compile(
        "|".join(re.escape(s) if len(s) >= _SHORTEST_ANYWHERE else whole.format(re.escape(s)) for s in secrets)
    )


def detach_secrets(error: BaseException) -> BaseException:
    """``error`` without causes whose text contains a secret: Dagster stores the text of every cause."""
    at: BaseException | None = error
    while at is not None:
        cause = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
        if cause is not None and redact(str(cause)) != str(cause):
            at.__cause__, at.__suppress_context__ = None, True
            break
        at = cause
    return error


def _guard_logs() -> None:
    """Redact every log record of this process, from any library."""
    global _guarded
    with _lock:
        if _guarded:
            return
        _guarded = True
    make = logging.getLogRecordFactory()

    def without_secrets(*args: Any, **named: Any) -> logging.LogRecord:
        record = make(*args, **named)
        record.msg, record.args = redact(_text(record)), ()
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            shown = "".join(traceback.format_exception(record.exc_info[1]))
            if redact(shown) != shown:
                record.exc_text = redact(shown)
        return record

    logging.setLogRecordFactory(without_secrets)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # as in logging itself: a log call never fails its caller
        return str(record.msg)


def _empty_as_none(value: object) -> object:
    """An empty environment variable counts as not set."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return None if isinstance(text, str) and not text.strip() else value


def _header_value(value: SecretStr) -> SecretStr:
    """Strip the line end that ``$(cat FILE)`` leaves, and refuse what no HTTP header can carry, without showing it."""
    text = value.get_secret_value().strip()
    learn(text)
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be printable ASCII characters on one line")
    return SecretStr(text)


def _credentials(value: SecretStr) -> SecretStr:
    user, _, password = value.get_secret_value().partition(":")
    learn(password or user)
    learn(basic_authorization(value).removeprefix("Basic "))
    return value


HeaderSecret = Annotated[SecretStr, AfterValidator(_header_value)]
OptionalHeaderSecret = Annotated[HeaderSecret | None, BeforeValidator(_empty_as_none)]
# USER:PASSWORD
OptionalCredentials = Annotated[
    Annotated[SecretStr, AfterValidator(_credentials)] | None, BeforeValidator(_empty_as_none)
]  # fmt: skip


def basic_authorization(credentials: SecretStr) -> str:
    """``USER:PASSWORD`` as the value of an ``Authorization`` header (RFC 7617)."""
    return f"Basic {b64encode(credentials.get_secret_value().encode()).decode()}"


def learn_url(url: str) -> None:
    """Remember a URL that is secret as a whole, as a webhook's, and its secret parts."""
    learn(url)
    for part in _secret_parts(url):
        learn(part)


def learn_command(command: Sequence[str]) -> None:
    """Remember the arguments of a command, since a header with a token or a webhook's URL may be among them."""
    for argument in command[1:]:
        for part in (argument, argument.split()[-1] if argument.split() else ""):
            if len(part) >= _SHORTEST_ARGUMENT and not part.startswith("-"):
                learn(part)


def learn_service(url: str) -> None:
    """Remember a URL of a notification service: any part of it can be a token, but for the name of a host.

    >>> learn_service("tgram://123456789:AAE-abcdefgh/-10012345678")
    >>> redact("bot123456789:AAE-abcdefgh at chat -10012345678")
    'bot*** at chat ***'
    """
    learn(url)
    for part in re.split(r"[/@?&=,#]+", url.partition("://")[2]):
        if len(part) >= _SHORTEST_ARGUMENT and not _HOST.fullmatch(part):
            learn(part)
            learn(unquote(part))
            learn(part.rpartition(":")[2])


def _secret_parts(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        found = [parts.path, parts.query, *parts.path.split("/"), parts.password or ""]
    except ValueError:
        return
    yield from (part for part in found if len(part) >= _SHORTEST_ANYWHERE)
