"""Reads the paths in a git index of version 2 to 4, split indexes included.

No library does this safely: the maintained ones run git, or take quadratic time on a crafted index. The format:
https://git-scm.com/docs/index-format.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Generator, Iterator
from pathlib import Path

from dobby_dagster.ingest.regular_files import NotReadError, read_regular

MAX_INDEX_BYTES = 500_000_000
MAX_PATH_BYTES = 4_096
_EXTENDED, _LENGTH = 0x4000, 0x0FFF


def tracked_paths(git: Path) -> Iterator[str]:
    """The paths in the index of the git folder ``git``, as Latin-1; if it is damaged, those before the damage."""
    data = _read(git / "index")
    end = yield from _paths(data)
    base = _base_of_split(data, end) if end else ""
    if base:
        yield from _paths(_read(git / f"sharedindex.{base}"))


def _read(file: Path) -> bytes:
    try:
        return read_regular(file, MAX_INDEX_BYTES, follow=True)
    except NotReadError:
        return b""


def _paths(data: bytes) -> Generator[str, None, int]:
    """Yields the paths, and returns where the entries end; 0 if the index is damaged."""
    try:
        signature, version, count = struct.unpack_from(">4sLL", data)
        if signature != b"DIRC" or version not in (2, 3, 4):
            return 0
        head = 40 + _hash_size(data)  # times, mode, owner and size, then the object's name
        at, name = 12, b""
        for _ in range(count):
            flags = struct.unpack_from(">H", data, at + head)[0]
            begin = at + head + (4 if flags & _EXTENDED else 2)
            if version == 4:
                removed, begin = _variable_length(data, begin)
                if removed > len(name):
                    return 0
                end = data.index(b"\0", begin)
                name, at = name[: len(name) - removed] + data[begin:end], end + 1
            else:
                length = flags & _LENGTH
                end = begin + length if length < _LENGTH else data.index(b"\0", begin)
                name, at = data[begin:end], end + 8 - (end - at) % 8
            if len(name) > MAX_PATH_BYTES:
                return 0
            yield name.decode("latin-1")
    except (struct.error, ValueError, IndexError):
        return 0
    return at


def _hash_size(data: bytes) -> int:
    """The size of the repository's hashes in bytes, inferred from the checksum at the end of the index."""
    return 32 if hashlib.sha256(data[:-32]).digest() == data[-32:] else 20


def _variable_length(data: bytes, at: int) -> tuple[int, int]:
    """Git's variable-length number at ``at``, and where it ends."""
    value = data[at] & 127
    while data[at] & 128:
        at += 1
        value = ((value + 1) << 7) + (data[at] & 127)
        if value > MAX_PATH_BYTES:
            raise ValueError(value)
    return value, at + 1


def _base_of_split(data: bytes, at: int) -> str:
    """The name of the shared index of a split index, from the extension ``link``; empty if there is none."""
    while at + 8 <= len(data):
        size = struct.unpack_from(">L", data, at + 4)[0]
        if data[at : at + 4] == b"link":
            return data[at + 8 : at + 8 + _hash_size(data)].hex()
        at += 8 + size
    return ""
