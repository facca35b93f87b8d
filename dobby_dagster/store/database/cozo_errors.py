"""CozoDB's exceptions and messages, translated into Dobby's errors.

Its panics derive from BaseException and pass ``except Exception``; its messages are the only way to
tell a locked database from a damaged one.
"""

from __future__ import annotations

import re

from dobby_dagster.domain.errors import SourceError, StoreAccessError, StoreBusyError, StoreCorruptError, StoreError
from dobby_dagster.domain.printable import shortened

MESSAGE_LENGTH = 300

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_BUSY = re.compile(
    r"database is locked|database table is locked|code: Some\(5\)|\(code 5\)|code 6\b|Resource temporarily"
)
_CORRUPT = re.compile(r"not a database|malformed|code: Some\((11|26)\)|\(code (11|26)\)|[Cc]orrupt")
_FULL = re.compile(r"disk is full|No space left|File too large|disk I/O error|code: Some\((10|13)\)|\(code (10|13)\)")
_ACCESS = re.compile(r"readonly|read-only|unable to open|Permission denied|code: Some\((8|14)\)|\(code (8|14)\)")
_EXISTS = re.compile(r"data exists in the (target|current) database")
_DEEP = re.compile("DepthLimitExceeded")
_MISSING = re.compile(r"relation_not_found|Cannot find requested stored relation")


def is_panic(error: BaseException) -> bool:
    """Whether ``error`` is a panic of Cozo's Rust core."""
    return type(error).__name__ == "PanicException"


def message_of(error: BaseException) -> str:
    """The message of ``error`` without colours; never raises, though Cozo's own ``str`` may."""
    response = getattr(error, "resp", None)
    if isinstance(response, dict):
        return message_of_response(response)
    try:
        text = str(error) or repr(error)
    except Exception:  # Cozo's own __str__ raises AttributeError for some inputs
        text = type(error).__name__
    return " ".join(_ANSI.sub("", text).split())


def message_of_response(response: dict[str, object]) -> str:
    """The message in the answer of a failed query, without colours."""
    parts = [str(response.get(name) or "") for name in ("code", "message", "display")]
    text = " ".join(_ANSI.sub("", " ".join(part for part in parts if part)).split())
    return text or "unknown error"


def translate(message: str, database: str) -> StoreError | SourceError:
    """The error that a message of CozoDB stands for."""
    if _BUSY.search(message):
        return StoreBusyError(f"{database} is locked by a client that does not take Dobby's lease")
    if _FULL.search(message):
        return StoreAccessError(
            f"{database} can't be written: the disk is full or fails ({shortened(message, MESSAGE_LENGTH)})",
            hint="free some space and run again: nothing that was stored is lost",
        )
    if _CORRUPT.search(message):
        return StoreCorruptError(f"{database} is damaged or no CozoDB database", hint="restore a backup")
    if _ACCESS.search(message):
        return StoreAccessError(f"{database} can't be opened for writing", hint="check its path and permissions")
    if _EXISTS.search(message):
        return StoreAccessError(f"the backup or database exists already, says {database}", hint="choose another name")
    if _DEEP.search(message):
        return SourceError(
            f"{database} has a relation with a value nested deeper than 1,024 levels, which CozoDB can write and not read",
            hint="delete that row by its key",
        )
    if _MISSING.search(message):
        name = re.search(r"stored relation '([^']*)'", message)
        return SourceError(f"{database} has no relation '{name.group(1) if name else '?'}'")
    return StoreError(f"{database} refused a query: {shortened(message, MESSAGE_LENGTH)}")
