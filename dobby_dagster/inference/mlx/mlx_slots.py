"""Keys and values of all slots, as arrays of MLX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from dobby_dagster.inference.mlx.mlx_device import on_stream
from dobby_dagster.inference.models.model_config import ModelConfig

# Tokens of a slot are rounded up to this.
COLUMN_STEP = 64


def rounded(count: int, step: int) -> int:
    """``count`` rounded up to a multiple of ``step``.

    >>> rounded(65, 64)
    128
    """
    return -(-count // step) * step


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of tokens that several prompts begin with.

    Attributes:
        length: How many tokens.
        keys, values: Of each layer, (1, key-value heads, length, head size).
    """

    length: int
    keys: list[mx.array]
    values: list[mx.array]


class MlxSlots:
    """``rows`` slots of ``columns`` tokens.

    Args:
        config: The model's.
        rows: Slots.
        columns: Tokens of the longest prompt with its output; rounded up.
        dtype: Of keys and values.
        stream: Where slots are moved and cleared.

    Attributes:
        keys, values: Of each layer, (rows, key-value heads, columns, head size).
    """

    def __init__(self, config: ModelConfig, rows: int, columns: int, dtype: mx.Dtype, stream: Any) -> None:
        self.rows, self.columns, self.stream = rows, rounded(columns, COLUMN_STEP), stream
        shape = (rows, config.num_kv_heads, self.columns, config.head_dim)
        with mx.stream(stream):
            # Zeroed, since NaN would spread even from masked columns.
            self.keys = [mx.zeros(shape, dtype) for _ in range(config.num_layers)]
            self.values = [mx.zeros(shape, dtype) for _ in range(config.num_layers)]
            self.evaluate()

    def reshaped(self, rows: int, columns: int) -> None:
        """See :class:`~dobby_dagster.inference.local.network.Slots`: a block of memory has one shape."""

    @on_stream
    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of one slot to another."""
        end = min(self.columns, rounded(length, COLUMN_STEP))
        for cache in (*self.keys, *self.values):
            cache[target, :, :end] = cache[source, :, :end]
        self.evaluate()

    @on_stream
    def clear(self, slot: int) -> None:
        """Set a slot to zero; needed where it may hold NaN."""
        for cache in (*self.keys, *self.values):
            cache[slot] = 0
        self.evaluate()

    def evaluate(self) -> None:
        """Compute what is queued for the slots."""
        mx.eval(self.keys, self.values)
