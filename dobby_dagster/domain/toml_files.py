"""TOML files that a user writes: read whole, within limits, and every fault of theirs in one line."""

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
        path: A file; a pipe would be waited for, and is refused.
        what: What the file is, for messages.
        error: Raised where it can't be read, is larger than ``LARGEST_BYTES`` or is no TOML.
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
        raise error(f"{what} {path} is not valid TOML: it is nested too deep") from None
    except ValueError as failure:  # no UTF-8, no TOML, or a path that no file can have
        raise error(f"{what} {path} is not valid TOML: {failure}") from failure
