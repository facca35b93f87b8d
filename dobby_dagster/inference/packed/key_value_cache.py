"""Keys and values of the records in the slots, of all layers, in one piece of memory."""

from __future__ import annotations

import torch

from dobby_dagster.inference.models.model_config import ModelConfig

# Rows in use and columns come in multiples of these: every new shape costs a compiled kernel, in time and in memory.
ROW_STEP = 8
COLUMN_STEP = 32


def rounded(count: int, step: int) -> int:
    """``count``, up to the next multiple of ``step``."""
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
        # Zeroed, since a number that is none would spread from a column that is masked.
        layers, heads, size = config.num_layers, config.num_kv_heads, config.head_dim
        self.keys = torch.zeros(layers, rows, heads, size, self.columns, dtype=dtype)
        self.values = torch.zeros(layers, rows, heads, self.columns, size, dtype=dtype)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of one slot to another."""
        end = min(self.columns, rounded(length, COLUMN_STEP))
        self.keys[:, target, :, :, :end] = self.keys[:, source, :, :, :end]
        self.values[:, target, :, :end] = self.values[:, source, :, :end]

    def clear(self, slot: int) -> None:
        """Forget what a slot holds; needed where it may hold what is no number."""
        self.keys[:, slot].zero_()
        self.values[:, slot].zero_()
