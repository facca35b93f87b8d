"""Reads TOML files within limits; every error is one line."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import DobbyError

LARGEST_BYTES = 1_000_000


def read_toml(path: Path, what: str, error: type[DobbyError]) -> dict[str, Any]:
    """The tables in the file at ``path``.

    Args:
        path: The file; a named pipe is refused, since reading it would block.
        what: What the file is, for messages.
        error: The class of error to raise.

    Raises:
        error: The file can't be read, is larger than ``LARGEST_BYTES``, or is not valid TOML.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise error(f"{what} {path} is a named pipe", hint="name a regular file")
        with path.open("rb") as stream:
            text = stream.read(LARGEST_BYTES + 1)
        if len(text) > LARGEST_BYTES:
            raise error(f"{what} {path} is larger than {LARGEST_BYTES:,} bytes")
        return tomllib.loads(text.decode())
    except OSError as failure:
        raise error(f"{what} {path} can't be read: {failure.strerror}") from failure
    except RecursionError:
        raise error(f"{what} {path} is not valid TOML: nested too deeply") from None
    except ValueError as failure:  # not UTF-8, not TOML, or an impossible path
        raise error(f"{what} {path} is not valid TOML: {failure}") from failure
