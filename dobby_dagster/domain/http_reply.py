"""Responses of untrusted servers, decompressed within a limit."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_INFLATABLE = ("gzip", "x-gzip", "deflate")
_ANY_ZLIB = 47  # window bits: the header says whether it is gzip or zlib


class NoAnswerError(Exception):
    """No complete response in time: no connection, a lost one, or one that is too slow."""


class BadAnswerError(Exception):
    """The response is too large, or not what its headers say."""


class LongAnswerError(BadAnswerError):
    """The response has more bytes than are read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response; ``headers`` in lower case, ``body`` decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds that ``Retry-After`` asks for: a number, or a date (RFC 9110, section 10.2.3)."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:12])
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (TypeError, ValueError, OverflowError):
            return None


def decompressed(body: bytes, headers: Mapping[str, str], largest: int) -> bytes:
    """``body`` without the content encodings that ``headers`` name.

    Raises:
        BadAnswerError: It has an unrequested encoding, is broken, or has more than ``largest`` bytes.

    >>> decompressed(zlib.compress(b"hello"), {"content-encoding": "deflate"}, 100)
    b'hello'
    """
    for encoding in reversed(headers.get("content-encoding", "").lower().split(",")):
        name = encoding.strip()
        if name in ("", "identity"):
            continue
        if name not in _INFLATABLE:
            raise BadAnswerError(f"its answer is compressed by {name}, which was not requested")
        inflate = zlib.decompressobj(_ANY_ZLIB)
        try:
            body = inflate.decompress(body, largest + 1)
        except zlib.error:
            raise BadAnswerError(f"its answer is labelled {name}, and is not") from None
        if len(body) > largest:
            raise LongAnswerError(f"its answer is longer than {largest:,} bytes when decompressed")
        if not inflate.eof:
            raise BadAnswerError(f"its {name} answer is truncated")
    return body
