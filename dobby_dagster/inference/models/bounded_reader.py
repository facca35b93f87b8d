"""Reads a GGUF file's header: nothing beyond the file, no more than a header needs, no number without a check."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_files import require_regular

# A vocabulary of 150,000 tokens with its merges takes 6 MB.
LARGEST_HEADER_BYTES = 32_000_000


class BoundedReader:
    """Reads a file from its begin, within its size and ``LARGEST_HEADER_BYTES``."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.size = require_regular(file)
        self.position = 0

    def __enter__(self) -> BoundedReader:
        """Open the file; ModelError where it can't be read."""
        try:
            self._stream: BinaryIO = self.file.open("rb")
        except OSError as error:
            raise ModelError(f"{self.file} can't be read: {error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._stream.close()

    def malformed(self, message: str) -> ModelError:
        """An error that says what is wrong with the file."""
        return ModelError(
            f"{self.file} is not a usable GGUF file: {message}", hint="copy it again, or use another file"
        )

    def seek(self, offset: int) -> None:
        """Go to an offset in the file."""
        self.position = offset
        self._stream.seek(offset)

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes."""
        self._advance(count)
        self._stream.seek(self.position)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; ModelError where there are fewer, or the header is too long."""
        self._advance(count)
        return self._stream.read(count)

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        """``count`` numbers, by a code of ``struct``."""
        form = f"<{count}{code}"
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def count(self, what: str, limit: int) -> int:
        """A number of things; each takes at least a byte."""
        (found,) = self.numbers("Q", 1)
        if found > limit:
            raise self.malformed(f"{what} has {found:,} items; {limit:,} are allowed")
        return int(found)

    def length(self, limit: int) -> int:
        """The length of a text, in bytes."""
        return self.count("a text", limit)

    def text(self, limit: int) -> str:
        """A text of at most ``limit`` bytes."""
        try:
            return self.take(self.length(limit)).decode()
        except UnicodeDecodeError:
            raise self.malformed("a text is not UTF-8") from None

    def _advance(self, count: int) -> None:
        self.position += count
        if self.position > self.size:
            raise ModelError(
                f"{self.file} is truncated, or not a GGUF file ({self.size:,} bytes)", hint="copy it again"
            )
        if self.position > LARGEST_HEADER_BYTES:
            raise self.malformed(f"its header is longer than {LARGEST_HEADER_BYTES:,} bytes")
