"""Weights that stay in their file: mapped into memory, so that the system reads them when they are used."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from dobby_dagster.domain.errors import ModelError

# Windows locks a mapped file against changes, and can't be told to give its pages back.
CAN_MAP = hasattr(mmap, "MADV_DONTNEED")


class MappedWeights:
    """Matrices of bfloat16 in files, without a copy.

    A library that packs weights into a layout of its own reads them once; then :meth:`release` gives the memory back.
    Arrays are valid as long as this object exists.
    """

    def __init__(self) -> None:
        self._files: dict[Path, tuple[Any, mmap.mmap, tuple[int, int]]] = {}

    def matrix(self, file: Path, offset: int, rows: int, columns: int) -> np.ndarray:
        """The bits of a matrix of bfloat16 that begins at ``offset``: (rows, columns) uint16.

        Raises:
            ModelError: The file can't be read, or ends before.
        """
        try:
            if file not in self._files:
                stream = file.open("rb")
                # Private: a library that wrote into its weights would not change the file.
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
                self._files[file] = stream, mapped, _stamp(stream)
            return np.frombuffer(self._files[file][1], np.uint16, rows * columns, offset).reshape(rows, columns)
        except (OSError, ValueError) as error:
            raise ModelError(f"{file} can't be read: {error}", hint="copy it again") from None

    def release(self) -> None:
        """Give the memory back; a weight that is used again is read from its file again."""
        for _, mapped, _ in self._files.values():
            mapped.madvise(mmap.MADV_DONTNEED)

    def require_unchanged(self) -> None:
        """Check that what was read since the files were mapped is what they held then.

        A file that another one replaces is not changed: it exists as long as it is mapped.

        Raises:
            ModelError: A file was written to.
        """
        for file, (stream, _, stamp) in self._files.items():
            if _stamp(stream) != stamp:
                raise ModelError(f"{file} was written to while the model was in use", hint="run it again")


def _stamp(stream: Any) -> tuple[int, int]:
    status = os.fstat(stream.fileno())
    return status.st_size, status.st_mtime_ns
