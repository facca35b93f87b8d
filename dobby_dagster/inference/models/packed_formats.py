"""Matrices of 2, 4 or 8 bits that share words of 32: GPTQ, AWQ, and compressed-tensors' pack-quantized.

In each, a weight is ``(stored - zero) * scale``; zeros and scales are for a row of the matrix and a group of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from dobby_dagster.domain.errors import ModelError

# The tensors of one matrix, by their names in place of ``weight``.
Parts: TypeAlias = Mapping[str, np.ndarray]
Shape: TypeAlias = tuple[int, ...]
# Numbers that are dequantized at once.
_AT_ONCE = 1_000_000
# AWQ: the columns of eight that lie in the nibbles of a word, from the lowest.
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


@dataclass(frozen=True, slots=True)
class Packed:
    """A matrix: ``stored`` (rows, columns), ``zeros`` and ``scales`` (rows, groups), and ``groups`` of the columns."""

    stored: np.ndarray
    zeros: np.ndarray
    scales: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, slots=True)
class PackedFormat:
    """How one of the formats stores a matrix.

    Attributes:
        name: For people.
        words: Name of the packed matrix, in place of ``weight``.
        beside: Names of what belongs to it; what is absent is not read.
        shape: From the shape of the words, and how many numbers share one, to that of the matrix.
        unpack: From the parts, the format and the columns of a group to a matrix.
        bits: Of a number.
        group_size: Columns of a group; 0: all of a row.
        offset: Added to stored zeros.
    """

    name: str
    words: str
    beside: tuple[str, ...]
    shape: Callable[[Shape, int], Shape]
    unpack: Callable[[Parts, PackedFormat], Packed]
    bits: int = 4
    group_size: int = 0
    offset: int = 0

    def whole_shape(self, words: Shape) -> Shape:
        """The shape of the matrix whose words have the shape ``words``."""
        return self.shape(words, 32 // self.bits) if len(words) == 2 else words

    def whole_shapes(self, stored: Mapping[str, Shape]) -> dict[str, Shape]:
        """The shapes of all weights, from those of the stored tensors."""
        packed = {name: shape for name, shape in stored.items() if name.endswith(f".{self.words}")}
        whole = {name.removesuffix(self.words) + "weight": self.whole_shape(shape) for name, shape in packed.items()}
        return {**stored, **whole}

    def values(self, name: str, parts: Parts) -> np.ndarray:
        """A matrix in float32, exactly: (rows, columns).

        Raises:
            ModelError: Its parts do not fit each other.
        """
        try:
            packed = self.unpack(parts, self)
            rows, groups = packed.scales.shape
            fit = (rows, len(packed.groups)) == packed.stored.shape and packed.zeros.shape in ((rows, groups), (1, 1))
            fit = fit and packed.groups.min() >= 0 and packed.groups.max() == groups - 1
        except (KeyError, ValueError, IndexError, TypeError):
            fit = False
        if not fit:
            raise ModelError(f"{name}: its parts do not fit each other as {self.name} has them", hint="copy it again")
        zeros = np.broadcast_to(packed.zeros, packed.scales.shape)
        values = np.empty(packed.stored.shape, np.float32)
        step = max(1, _AT_ONCE // len(packed.groups))
        for row in range(0, rows, step):
            part = slice(row, row + step)
            whole = packed.stored[part].astype(np.float32) - zeros[part][:, packed.groups]
            values[part] = whole * packed.scales[part][:, packed.groups]
        return values


def unpacked(words: np.ndarray, bits: int, order: tuple[int, ...] = ()) -> np.ndarray:
    """The numbers in words of 32 bits, the lowest first: (rows, words) to (rows, words * 32 / bits), uint8.

    >>> unpacked(np.array([[0x21]], np.int32), 4)[0, :3].tolist()
    [1, 2, 0]
    """
    count = 32 // bits
    numbers = np.empty((*words.shape, count), np.uint8)
    for index, place in enumerate(order or range(count)):
        numbers[..., place] = words.view(np.uint32) >> np.uint32(bits * index) & np.uint32((1 << bits) - 1)
    return numbers.reshape(words.shape[0], -1)


def _groups(parts: Parts, name: str, columns: int, found: PackedFormat) -> np.ndarray:
    """The group of each column."""
    stored = parts.get(name)
    if stored is not None and stored.size and stored.max() >= 0:
        return stored.astype(np.int64)
    return np.arange(columns) // (found.group_size or columns)


def _gptq(parts: Parts, found: PackedFormat) -> Packed:
    stored = unpacked(np.ascontiguousarray(parts["qweight"].T), found.bits)
    zeros = unpacked(parts["qzeros"], found.bits).T.astype(np.int32) + found.offset & (1 << found.bits) - 1
    groups = _groups(parts, "g_idx", stored.shape[1], found)
    return Packed(stored, zeros.astype(np.float32), parts["scales"].T.astype(np.float32), groups)


def _awq(parts: Parts, found: PackedFormat) -> Packed:
    stored = unpacked(parts["qweight"], found.bits, _AWQ_ORDER).T
    zeros = unpacked(parts["qzeros"], found.bits, _AWQ_ORDER).T.astype(np.float32)
    return Packed(stored, zeros, parts["scales"].T.astype(np.float32), _groups(parts, "", stored.shape[1], found))


def _pack_quantized(parts: Parts, found: PackedFormat) -> Packed:
    rows, columns = (int(size) for size in parts["weight_shape"])
    stored = unpacked(parts["weight_packed"], found.bits)[:, : max(columns, 0)]
    if stored.shape != (rows, columns):
        raise ValueError("weight_shape is not that of weight_packed")
    zeros = np.full((1, 1), 1 << found.bits - 1, np.float32)  # numbers are stored without a sign
    if "weight_zero_point" in parts:
        zeros = unpacked(np.ascontiguousarray(parts["weight_zero_point"].T), found.bits).T[:rows].astype(np.float32)
    groups = _groups(parts, "weight_g_idx", columns, found)
    return Packed(stored, zeros, parts["weight_scale"].astype(np.float32), groups)


GPTQ = PackedFormat(
    "gptq", "qweight", ("qzeros", "scales", "g_idx"), lambda words, count: (words[1], words[0] * count), _gptq, offset=1
)
GPTQ_V2 = replace(GPTQ, name="gptq_v2", offset=0)
AWQ = PackedFormat("awq", "qweight", ("qzeros", "scales"), lambda words, count: (words[1] * count, words[0]), _awq)
PACK_QUANTIZED = PackedFormat(
    "compressed-tensors pack-quantized",
    "weight_packed",
    ("weight_shape", "weight_scale", "weight_zero_point", "weight_g_idx"),
    lambda words, count: (words[0], words[1] * count),
    _pack_quantized,
)
