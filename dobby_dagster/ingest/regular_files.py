"""Reads files of untrusted source trees."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotReadError(Exception):
    """The file was not read; the message says why.

    Attributes:
        transient: It may be readable next time, so records from it must be kept.
    """

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


def read_regular(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; never blocks on a FIFO or a device.

    Args:
        path: The file.
        limit: Largest size in bytes.
        follow: Whether ``path`` may be a symbolic link.

    Raises:
        NotReadError: It is missing, a symbolic link, not a regular file, too large, or can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        raise NotReadError(os.strerror(error.errno or 0), transient=not isinstance(error, FileNotFoundError)) from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise NotReadError("not a regular file")
    with open(descriptor, "rb") as file:
        try:
            data = file.read(limit + 1) if about.st_size <= limit else None
        except OSError as error:
            raise NotReadError(os.strerror(error.errno or 0), transient=True) from error
    if data is None or len(data) > limit:
        raise NotReadError(f"larger than {limit:,} bytes")
    return data
