"""Reads a model folder's files, which are untrusted: only regular ones of bounded size, and JSON by a schema."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.printable import shortened

LARGEST_BYTES = 10_000_000
LARGEST_TOKENIZER_BYTES = 64_000_000
Schema = TypeVar("Schema", bound=BaseModel)


def is_file(path: Path) -> bool:
    """Whether a file of this name exists; that it is a regular one is checked when it is read."""
    return os.path.lexists(path)


def require_regular(file: Path) -> int:
    """The size of a regular file, in bytes.

    Raises:
        ModelError: It is missing, or not a regular file: a device or a pipe could be read forever.
    """
    try:
        status = file.stat()
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}: it is not a model folder") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} can't be read: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{file} is not a regular file", hint="copy the folder again")
    return status.st_size


def require_regular_files(folder: Path) -> None:
    """Check that a folder holds only files and folders, since libraries choose what they read in it.

    Raises:
        ModelError: It can't be read, or holds a device, a pipe or a socket, or a link to one.
    """
    try:
        for entry in os.scandir(folder):
            if not entry.is_dir() and os.path.exists(entry.path):
                require_regular(folder / entry.name)
    except OSError as error:
        raise ModelError(f"{folder} can't be read: {error}") from None


def read_bytes(file: Path, limit: int = LARGEST_BYTES) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes.

    Raises:
        ModelError: It is missing, can't be read, is not a regular file, or is larger.
    """
    size = require_regular(file)
    if size > limit:
        raise ModelError(f"{file} is {size:,} bytes long; {limit:,} are allowed", hint="copy the folder again")
    try:
        with file.open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        raise ModelError(f"{file} can't be read: {error}") from None


def read_text(file: Path, limit: int = LARGEST_BYTES) -> str:
    """The text of a regular file of at most ``limit`` bytes.

    Raises:
        ModelError: It can't be read, or is not UTF-8.
    """
    try:
        return read_bytes(file, limit).decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{file} is not UTF-8: {error.reason}", hint="copy the folder again") from None


def read_json(file: Path, limit: int = LARGEST_BYTES) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelError: It can't be read, or does not hold a JSON object.
    """
    try:
        value = json.loads(read_bytes(file, limit))
    except (ValueError, RecursionError) as error:  # deep nesting raises the latter
        raise ModelError(f"{file} can't be read: {error}", hint="copy the folder again") from None
    if not isinstance(value, dict):
        raise ModelError(f"{file} does not hold a JSON object", hint="copy the folder again")
    return value


def validated(schema: type[Schema], content: Any, file: Path) -> Schema:
    """A file's content, validated by a schema.

    Raises:
        ModelError: It does not fit; the first offending field is named.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        value = shortened(repr(first["input"]), 60)
        message = f"{file}: {where} = {value} is invalid: {first['msg']}"
        raise ModelError(message, hint="copy it again") from None
    except RecursionError:
        raise ModelError(f"{file} is nested too deeply", hint="copy the folder again") from None


def read_schema(schema: type[Schema], file: Path) -> Schema:
    """A JSON file, validated by a schema; the schema's defaults where the file does not exist.

    Raises:
        ModelError: It can't be read, or does not fit the schema.
    """
    return validated(schema, read_json(file) if is_file(file) else {}, file)


def digest(file: Path) -> bytes:
    """SHA-256 of a regular file; cached until its size or time changes, since sensors ask at every tick.

    Raises:
        ModelError: It can't be read.
    """
    require_regular(file)
    try:
        status = file.stat()
        return _digest(file, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ModelError(f"{file} can't be read: {error}") from None


@lru_cache(maxsize=256)
def _digest(file: Path, size: int, changed_at: int) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
