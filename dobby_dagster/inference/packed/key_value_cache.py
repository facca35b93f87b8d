"""Keys and values of all slots and layers, in one block of memory."""

from __future__ import annotations

import torch

from dobby_dagster.inference.models.model_config import ModelConfig

# Rows in use and columns are rounded up to these: every new shape costs a compiled kernel, in time and in memory.
ROW_STEP = 8
COLUMN_STEP = 32


def rounded(count: int, step: int) -> int:
    """``count`` rounded up to a multiple of ``step``.

    >>> rounded(33, 32)
    64
    """
    return -(-count // step) * step


class SlotCache:
    """``rows`` slots of ``columns`` tokens.

    Args:
        config: The model's.
        rows: Slots.
        columns: Tokens of the longest prompt with its output; rounded up.
        dtype: Of keys and values.

    Attributes:
        keys: (layers, rows, key-value heads, head size, columns): transposed, as they are multiplied.
        values: (layers, rows, key-value heads, columns, head size).
    """

    def __init__(self, config: ModelConfig, rows: int, columns: int, dtype: torch.dtype) -> None:
        self.rows, self.columns = rows, rounded(columns, COLUMN_STEP)
        # Zeroed, since NaN would spread even from masked columns.
        layers, heads, size = config.num_layers, config.num_kv_heads, config.head_dim
        self.keys = torch.zeros(layers, rows, heads, size, self.columns, dtype=dtype)
        self.values = torch.zeros(layers, rows, heads, self.columns, size, dtype=dtype)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of one slot to another."""
        end = min(self.columns, rounded(length, COLUMN_STEP))
        self.keys[:, target, :, :, :end] = self.keys[:, source, :, :, :end]
        self.values[:, target, :, :end] = self.values[:, source, :, :end]

    def clear(self, slot: int) -> None:
        """Set a slot to zero; needed where it may hold NaN."""
        self.keys[:, slot].zero_()
        self.values[:, slot].zero_()
