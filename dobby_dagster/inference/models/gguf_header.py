"""The header of a GGUF file: metadata, and where each tensor is; every number is checked before it is used.

A bounded reader of our own, since the package's takes seconds and keeps hundreds of megabytes for a vocabulary, and
goes on without end where a count is wrong. The layout is little-endian: magic, version, counts, key-value pairs, tensor
infos, padding, data (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.bounded_reader import BoundedReader
from dobby_dagster.inference.models.folder_files import digest

MAGIC, VERSIONS = b"GGUF", (2, 3)
MOST_FIELDS, MOST_TENSORS, MOST_ITEMS = 10_000, 100_000, 1_000_000
LONGEST_NAME, LONGEST_TEXT = 1_000, 1_000_000
_TEXT, _ARRAY = 8, 9
# Types of numbers: codes of ``struct``.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ALIGNMENT, _ALIGNMENTS = 32, [1 << power for power in range(21)]

Scalar: TypeAlias = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the metadata, which is left in the file: see :func:`read_array`.

    Attributes:
        kind: GGUF's number for the type of its items.
        count: How many items it has.
        offset: In the file, of the first item.
    """

    kind: int
    count: int
    offset: int


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor is.

    Attributes:
        kind: ggml's number for how it is quantized.
        shape: (rows, columns), or (size,).
        offset: In the file, of its first byte.
        bytes: It takes.
    """

    kind: int
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A checked header: metadata by key, and tensors by the names in the file; both are read only."""

    metadata: dict[str, Scalar | Array]
    tensors: dict[str, TensorPlace]

    def number_of_items(self, key: str) -> int:
        """The length of an array of the metadata; 0 where it is absent, or not an array."""
        found = self.metadata.get(key)
        return found.count if isinstance(found, Array) else 0


def read_header(file: Path) -> GgufHeader:
    """The header of a GGUF file; cached until the file changes, since sensors ask at every tick.

    Raises:
        ModelError: The file is truncated or malformed, or a tensor has a type that can't be dequantized.
    """
    return _read(file, digest(file))


def read_array(file: Path, array: Array, longest: int = LONGEST_TEXT) -> list[Any]:
    """The items of an array: numbers, or texts of at most ``longest`` bytes.

    Raises:
        ModelError: The file can't be read, or a text is longer or not UTF-8.
    """
    with BoundedReader(file) as reader:
        reader.seek(array.offset)
        if array.kind == _TEXT:
            return [reader.text(longest) for _ in range(array.count)]
        return list(reader.numbers(_NUMBERS[array.kind], array.count))


@lru_cache(maxsize=8)
def _read(file: Path, version: bytes) -> GgufHeader:
    with BoundedReader(file) as reader:
        if reader.take(4) != MAGIC:
            raise reader.malformed("it does not begin with GGUF")
        (number,) = reader.numbers("I", 1)
        if number not in VERSIONS:
            raise reader.malformed(f"version {number} is not supported (supported: 2 and 3, little-endian)")
        tensors, fields = reader.count("tensors", MOST_TENSORS), reader.count("metadata", MOST_FIELDS)
        metadata: dict[str, Scalar | Array] = {}
        for _ in range(fields):
            key = reader.text(LONGEST_NAME)
            if key in metadata:
                raise reader.malformed(f"{key!r} is stored twice")
            metadata[key] = _value(reader)
        found: dict[str, TensorPlace] = {}
        for _ in range(tensors):
            name = reader.text(LONGEST_NAME)
            if name in found:
                raise reader.malformed(f"tensor {name!r} is stored twice")
            found[name] = _place(reader, name)
        return GgufHeader(metadata, _placed(reader, found, metadata.get("general.alignment", _ALIGNMENT)))


def _value(reader: BoundedReader) -> Scalar | Array:
    """A value of the metadata; arrays are passed over."""
    (kind,) = reader.numbers("I", 1)
    if kind in _NUMBERS:
        found: Scalar = reader.numbers(_NUMBERS[kind], 1)[0]
        return found
    if kind == _TEXT:
        return reader.text(LONGEST_TEXT)
    if kind != _ARRAY:
        raise reader.malformed(f"type {kind} of a value is unknown")
    (inner,) = reader.numbers("I", 1)
    array = Array(inner, reader.count("an array", MOST_ITEMS), reader.position)
    if inner in _NUMBERS:
        reader.skip(array.count * struct.calcsize(_NUMBERS[inner]))
    elif inner == _TEXT:
        for _ in range(array.count):
            reader.skip(reader.length(LONGEST_TEXT))
    else:
        raise reader.malformed(f"type {inner} of an array's items is not supported")
    return array


def _place(reader: BoundedReader, name: str) -> TensorPlace:
    """A tensor's info; its offset is from the begin of the data."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    (dimensions,) = reader.numbers("I", 1)
    if dimensions not in (1, 2):
        raise reader.malformed(f"tensor {name!r} has {dimensions} dimensions")
    shape = tuple(reversed(reader.numbers("Q", dimensions)))
    kind, offset = *reader.numbers("I", 1), *reader.numbers("Q", 1)
    if kind not in _dequantized_kinds():
        raise reader.malformed(f"tensor {name!r} is stored in ggml's type {kind}, which can't be dequantized")
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    if not all(shape) or shape[-1] % block:
        raise reader.malformed(f"tensor {name!r} of {shape} numbers can't be stored in blocks of {block}")
    return TensorPlace(kind, shape, offset, math.prod(shape) // block * size)


@lru_cache(maxsize=1)
def _dequantized_kinds() -> set[int]:
    """Types of ggml that the package dequantizes: it has a class for each, except for numbers of 32 and 16 bits."""
    from gguf import quants
    from gguf.constants import GGMLQuantizationType

    return {int(kind) for kind in GGMLQuantizationType if kind.name in ("F32", "F16") or hasattr(quants, kind.name)}


def _placed(reader: BoundedReader, tensors: dict[str, TensorPlace], alignment: object) -> dict[str, TensorPlace]:
    """Tensors with offsets in the file, after a check that each has bytes of its own there."""
    if type(alignment) is not int or alignment not in _ALIGNMENTS:
        raise reader.malformed(f"general.alignment = {alignment!r} is invalid: must be a power of two")
    begin = -(-reader.position // alignment) * alignment
    end = begin
    placed = {}
    for name, place in sorted(tensors.items(), key=lambda item: item[1].offset):
        offset = begin + place.offset
        if place.offset % alignment or offset < end:
            raise reader.malformed(f"tensor {name!r} overlaps another, or is not aligned")
        end = offset + place.bytes
        if end > reader.size:
            raise ModelError(f"{reader.file} is truncated: {reader.size:,} of {end:,} bytes", hint="copy it again")
        placed[name] = TensorPlace(place.kind, place.shape, offset, place.bytes)
    return placed
