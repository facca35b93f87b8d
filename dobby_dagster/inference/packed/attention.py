"""Attention as two matrix products with a softmax between, several times faster than torch's own on a CPU."""

from __future__ import annotations

import torch

# Queries in one product: keys behind the last of them are left out, and the matrix of scores stays small.
QUERY_BLOCK = 96
# Added to the scores of masked keys; no score outweighs it, and unlike infinity it never gives NaN.
HIDDEN = -1e9


def causal(length: int, offset: int, dtype: torch.dtype) -> torch.Tensor:
    """The causal mask (length, offset + length): 0 where a query sees a key, else ``HIDDEN``."""
    ahead = torch.arange(offset + length) > torch.arange(length)[:, None] + offset
    return ahead.to(dtype) * HIDDEN


def attend(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, group: int
) -> torch.Tensor:
    """Causal attention, in blocks of queries.

    Args:
        query: (prompts, heads, longest, size).
        keys: (prompts, key-value heads, offset + longest, size).
        values: In the shape of the keys.
        mask: (longest, offset + longest), see :func:`causal`.
        group: Query heads per key-value head.

    Returns:
        (prompts, heads, longest, size).
    """
    count, heads, longest, size = query.shape
    shared = heads // group
    offset = keys.shape[2] - longest
    keys, values = (x.reshape(count * shared, -1, size) for x in (keys, values))
    blocks = []
    for begin in range(0, longest, QUERY_BLOCK):
        end = min(begin + QUERY_BLOCK, longest)
        rows = query[:, :, begin:end].reshape(count * shared, group * (end - begin), size)
        seen = mask[begin:end, : offset + end].repeat(group, 1)
        part = product(rows, keys[:, : offset + end].transpose(1, 2), values[:, : offset + end], seen)
        blocks.append(part.view(count, heads, end - begin, size))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 2)


def product(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``softmax(query @ keys + mask) @ values``, of (n, rows, size), (n, size, columns) and (n, columns, size)."""
    return torch.bmm(torch.bmm(query, keys).add_(mask).softmax(-1), values)
