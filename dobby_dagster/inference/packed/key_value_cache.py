"""Keys and values of all slots and layers, in one block of memory."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of tokens that several prompts begin with.

    Attributes:
        ids: The tokens.
        keys: (layers, key-value heads, head size, tokens).
        values: (layers, key-value heads, tokens, head size).
    """

    ids: tuple[int, ...]
    keys: torch.Tensor
    values: torch.Tensor


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

    def store(
        self, layer: int, rows: slice, keys: torch.Tensor, values: torch.Tensor, prefix: Prefix | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a layer's keys and values, (prompts, key-value heads, tokens, head size), in the slots ``rows``.

        Returns:
            Keys and values with the prefix in front.
        """
        offset = len(prefix.ids) if prefix else 0
        end = min(offset + keys.shape[2], self.columns)
        self.keys[layer, rows, :, :, offset:end] = keys[:, :, : end - offset].transpose(2, 3)
        self.values[layer, rows, :, offset:end] = values[:, :, : end - offset]
        if prefix is None:
            return keys, values
        self.keys[layer, rows, :, :, :offset] = prefix.keys[layer]
        self.values[layer, rows, :, :offset] = prefix.values[layer]
        count = len(keys)
        return (
            torch.cat([prefix.keys[layer].transpose(1, 2).expand(count, -1, -1, -1), keys], 2),
            torch.cat([prefix.values[layer].expand(count, -1, -1, -1), values], 2),
        )

    def reshaped(self, rows: int, columns: int) -> None:
        """See :class:`~dobby_dagster.inference.local.network.Slots`: a block of memory has one shape."""

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of one slot to another."""
        end = min(self.columns, rounded(length, COLUMN_STEP))
        self.keys[:, target, :, :, :end] = self.keys[:, source, :, :, :end]
        self.values[:, target, :, :end] = self.values[:, source, :, :end]

    def clear(self, slot: int) -> None:
        """Set a slot to zero; needed where it may hold NaN."""
        self.keys[:, slot].zero_()
        self.values[:, slot].zero_()
