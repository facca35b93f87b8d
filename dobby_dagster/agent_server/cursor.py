"""Where an answer was cut off: opaque to the client, of one query only, and independent of later writes.

A cursor holds the position of the last entry, not a number of entries: records that come or go meanwhile repeat or hide
no other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from dobby_dagster.domain.errors import SettingsError

# The longest position, and the longest cursor: base64 of it with its digest.
POSITION_BYTES = 1_200
CURSOR_LENGTH = 1_700
_DIGEST_BYTES = 9


def encode(query: str, position: str) -> str:
    """The cursor of ``position``, at most ``POSITION_BYTES`` of UTF-8, in the answers to ``query``.

    >>> decode("outline src", encode("outline src", "src/a.py"))
    'src/a.py'
    """
    return base64.urlsafe_b64encode(_digest(query, position) + position.encode()).decode().rstrip("=")


def decode(query: str, cursor: str) -> str:
    """The position that was encoded for the same query.

    Raises:
        SettingsError: It is no cursor, or one of another query.
    """
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = data[_DIGEST_BYTES:].decode()
        valid = data[:_DIGEST_BYTES] == _digest(query, position)
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise SettingsError(
            "the cursor is not one of this call", hint="repeat the call whose answer had it, with the same arguments"
        )
    return position


def _digest(query: str, position: str) -> bytes:
    return hashlib.sha256(f"{query}\0{position}".encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES]
