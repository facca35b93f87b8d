"""Reading a file of a tree that nobody vouches for."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotReadError(Exception):
    """The file was not read; the message says why.

    Attributes:
        passing: It may be readable the next time, so what was read from it before is not to be forgotten.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


def read_regular(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; a FIFO or a device is never waited for.

    Args:
        path: The file.
        limit: In bytes.
        follow: Whether ``path`` may be a symbolic link.

    Raises:
        NotReadError: It is missing, a link, no regular file, too large, or can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        raise NotReadError(os.strerror(error.errno or 0), passing=not isinstance(error, FileNotFoundError)) from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise NotReadError("not a regular file")
    with open(descriptor, "rb") as file:
        try:
            data = file.read(limit + 1) if about.st_size <= limit else None
        except OSError as error:
            raise NotReadError(os.strerror(error.errno or 0), passing=True) from error
    if data is None or len(data) > limit:
        raise NotReadError(f"larger than {limit:,} bytes")
    return data
