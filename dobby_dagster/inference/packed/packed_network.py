"""The forward pass: prompts packed end to end, then one token for every slot at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from dobby_dagster.inference.packed.attention import HIDDEN, attend, causal, product
from dobby_dagster.inference.packed.key_value_cache import COLUMN_STEP, ROW_STEP, SlotCache, rounded
from dobby_dagster.inference.packed.packed_weights import Layer, Weights
from dobby_dagster.inference.packed.packing import Packing

# Padded prompts (in the attention only) come in multiples of this.
LENGTH_STEP = 16


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of the tokens that all prompts begin with.

    Attributes:
        ids: The tokens.
        keys: (layers, key-value heads, head size, tokens).
        values: (layers, key-value heads, tokens, head size).
    """

    ids: tuple[int, ...]
    keys: torch.Tensor
    values: torch.Tensor


class PackedNetwork:
    """Qwen2 or Llama on the CPU; see :class:`~dobby_dagster.inference.local.continuous_batching.Network`.

    Linear layers see the tokens of all prompts one after another, so that no padding is multiplied; only the
    attention sees them apart. It is two matrix products with a softmax between them, and the query heads that share a
    key-value head stand in the rows of one matrix: several times faster in bfloat16 than torch's own on a CPU.

    Args:
        weights: What :func:`~dobby_dagster.inference.packed.packed_weights.load_weights` gives.
        fixed: Decode with all slots of a cache and all its columns, in use or not, so that no number depends on
            how many share it.
    """

    def __init__(self, weights: Weights, *, fixed: bool = False) -> None:
        self.weights = weights
        self.fixed = fixed
        self.shape = weights.shape
        self.dtype = weights.embedding.dtype

    def slots(self, rows: int, columns: int) -> SlotCache:
        """See :class:`~dobby_dagster.inference.local.continuous_batching.Network`."""
        return SlotCache(self.shape, rows, columns, self.dtype)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prefix(self, ids: Sequence[int]) -> Prefix:
        """See :class:`~dobby_dagster.inference.local.continuous_batching.Network`."""
        cache = self.slots(1, rounded(len(ids), LENGTH_STEP))
        self.prefill([ids], cache, 0)
        return Prefix(tuple(ids), cache.keys[:, 0, :, :, : len(ids)].clone(), cache.values[:, 0, :, : len(ids)].clone())

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prefill(
        self, prompts: Sequence[Sequence[int]], slots: SlotCache, first: int, prefix: Prefix | None = None
    ) -> np.ndarray:
        """See :class:`~dobby_dagster.inference.local.continuous_batching.Network`."""
        shape, count = self.shape, len(prompts)
        offset = len(prefix.ids) if prefix else 0
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        longest = rounded(int(lengths.max()), LENGTH_STEP)
        packing = Packing(lengths, longest, shape.heads, shape.shared)
        ids = torch.zeros(packing.tokens, dtype=torch.long)
        ids[: packing.used] = torch.tensor([token for prompt in prompts for token in prompt])
        cosine, sine = self._angles(packing.positions + offset)
        x = self.weights.embedding[ids]
        mask = causal(longest, offset, self.dtype)
        rows, end = slice(first, first + count), min(offset + longest, slots.columns)
        for index, layer in enumerate(self.weights.layers):
            normed = self._norm(x)
            if layer.query_key_value is not None:
                joined = layer.query_key_value(normed).view(-1, shape.heads + 2 * shape.shared, shape.size)
                turned = _rotated(joined[:, : -shape.shared], cosine, sine)
                query, key, value = turned[:, : shape.heads], turned[:, shape.heads :], joined[:, -shape.shared :]
            else:
                joined = layer.key_value(normed).view(-1, 2 * shape.shared, shape.size)  # type: ignore[misc]
                key, value = _rotated(joined[:, : shape.shared], cosine, sine), joined[:, shape.shared :]
            # (prompts, key-value heads, tokens, head size)
            keys, values = packing.shared_apart(key), packing.shared_apart(value)
            slots.keys[index, rows, :, :, offset:end] = keys[:, :, : end - offset].transpose(2, 3)
            slots.values[index, rows, :, offset:end] = values[:, :, : end - offset]
            if prefix:
                slots.keys[index, rows, :, :, :offset] = prefix.keys[index]
                slots.values[index, rows, :, :offset] = prefix.values[index]
                keys = torch.cat([prefix.keys[index].transpose(1, 2).expand(count, -1, -1, -1), keys], 2)
                values = torch.cat([prefix.values[index].expand(count, -1, -1, -1), values], 2)
            if layer.query_key_value is not None:
                attended = packing.together(attend(packing.apart(query), keys, values, mask, shape.group))
                x = self._rest(layer, attended, x)
        return _logits(self._last(x, packing, keys, values, lengths, offset))

    def _last(
        self,
        x: torch.Tensor,
        packing: Packing,
        keys: torch.Tensor,
        values: torch.Tensor,
        lengths: torch.Tensor,
        offset: int,
    ) -> torch.Tensor:
        """The last layer and the head, for the last token of each prompt only."""
        shape, layer = self.shape, self.weights.layers[-1]
        count = len(lengths)
        x = x[packing.last]
        query = layer.query(self._norm(x)).view(count, shape.heads, shape.size)  # type: ignore[misc]
        query = _rotated(query, *self._angles(lengths - 1 + offset))
        seen = torch.arange(keys.shape[2]) < (lengths + offset)[:, None]
        mask = torch.zeros(seen.shape, dtype=self.dtype).masked_fill_(~seen, HIDDEN)
        mask = mask.repeat_interleave(shape.shared, 0)[:, None]
        attended = product(
            query.reshape(count * shape.shared, shape.group, shape.size),
            keys.reshape(count * shape.shared, -1, shape.size).transpose(1, 2),
            values.reshape(count * shape.shared, -1, shape.size),
            mask,
        )
        return self.weights.head(self._norm(self._rest(layer, attended.reshape(count, -1), x)))

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def decode(self, tokens: Sequence[int], positions: Sequence[int], slots: SlotCache) -> np.ndarray:
        """See :class:`~dobby_dagster.inference.local.continuous_batching.Network`."""
        asked = len(tokens)
        rows = slots.rows if self.fixed else min(slots.rows, rounded(asked, ROW_STEP))
        ids, places = (functional.pad(torch.tensor(each), (0, rows - asked)) for each in (tokens, positions))
        return _logits(self._decode(ids, places, slots)[:asked])

    def _decode(self, tokens: torch.Tensor, positions: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """For (rows,) tokens and positions, logits of (rows, vocabulary)."""
        shape, rows = self.shape, len(tokens)
        needed = rounded(int(positions.max()) + 1, COLUMN_STEP)
        # A part of the columns has to be copied before it is multiplied, which costs as much as half of them again.
        columns = cache.columns if self.fixed or needed * 3 >= cache.columns * 2 else needed
        cosine, sine = self._angles(positions)
        hidden = (torch.arange(columns) > positions[:, None]).to(self.dtype) * HIDDEN
        mask = hidden.repeat_interleave(shape.shared, 0)[:, None]
        heads = torch.arange(rows * shape.shared)
        at = positions.repeat_interleave(shape.shared)
        value_places = heads * cache.columns + at
        key_places = (heads[:, None] * shape.size + torch.arange(shape.size)) * cache.columns + at[:, None]
        key_places = key_places.view(-1)
        x = self.weights.embedding[tokens]
        for index, layer in enumerate(self.weights.layers):
            normed = self._norm(x)
            if layer.query_key_value is not None:
                joined = layer.query_key_value(normed)
            else:
                joined = torch.cat([layer.query(normed), layer.key_value(normed)], -1)  # type: ignore[misc]
            joined = joined.view(rows, -1, shape.size)
            turned = _rotated(joined[:, : -shape.shared], cosine, sine)
            keys, values = cache.keys[index, :rows], cache.values[index, :rows]
            keys.view(-1).index_copy_(0, key_places, turned[:, shape.heads :].reshape(-1))
            values.view(-1, shape.size).index_copy_(0, value_places, joined[:, -shape.shared :].reshape(-1, shape.size))
            attended = product(
                turned[:, : shape.heads].reshape(rows * shape.shared, shape.group, shape.size),
                keys.view(rows * shape.shared, shape.size, -1)[:, :, :columns],
                values.view(rows * shape.shared, -1, shape.size)[:, :columns],
                mask,
            )
            x = self._rest(layer, attended.view(rows, -1), x)
        return self.weights.head(self._norm(x))

    def _rest(self, layer: Layer, attended: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        x = layer.out.plus(attended, x)
        normed = self._norm(x)
        return layer.down.plus(layer.up.times(normed, layer.gate.swish(normed)), x)

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        """Root mean square norm without its gain (Zhang and Sennrich 2019); torch's own is far slower on a CPU."""
        mean = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_().div_(x.shape[-1])
        return x * mean.add_(self.shape.epsilon).rsqrt_().to(x.dtype)

    def _angles(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weights.cosine[positions][:, None], self.weights.sine[positions][:, None]


def _rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """The rotary embedding of (tokens, heads, size)."""
    half = x.shape[-1] // 2
    return torch.addcmul(x * cosine, torch.cat([x[..., half:], x[..., :half]], -1), sine)


def _logits(x: torch.Tensor) -> np.ndarray:
    found: np.ndarray = x.float().numpy()
    return found
