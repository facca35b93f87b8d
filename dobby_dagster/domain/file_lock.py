"""A lock that one process holds for as long as it works on a file or folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import portalocker

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.filesystem import PRIVATE_FILE, access_error


@contextmanager
def sole_holder(lock: Path, refusal: DobbyError) -> Iterator[None]:
    """Hold the lock for the block; the file is there only meanwhile, and the kernel frees the lock of a killed process.

    Args:
        lock: The file, in a folder that exists.
        refusal: Raised where another process holds it.

    Raises:
        StoreAccessError: The file can't be written or locked.
    """
    try:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, PRIVATE_FILE)
    except (OSError, ValueError) as error:
        raise access_error(lock, error) from error
    with os.fdopen(handle, "r+") as file:
        try:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.AlreadyLocked as error:
            raise refusal from error
        except (OSError, portalocker.LockException) as error:  # a file system without locks, say
            raise access_error(lock, _cause(error)) from error
        # Whoever held it may have deleted the file after it was opened here: then another one can be locked.
        if not _is_at(lock, file.fileno()):
            raise refusal
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _is_at(path: Path, handle: int) -> bool:
    """Whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _cause(error: OSError | portalocker.LockException) -> OSError | ValueError:
    """The error of the operating system that an error of a lock stands for."""
    for each in (error, error.__cause__):
        if isinstance(each, OSError):
            return each
    return ValueError(f"can't be locked: {error}")
