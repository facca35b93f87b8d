"""The forward pass by torch: prefill of prompts packed end to end, and decoding of one token per slot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from dobby_dagster.inference.packed.attention import HIDDEN, attend, causal, product
from dobby_dagster.inference.packed.key_value_cache import COLUMN_STEP, ROW_STEP, Prefix, SlotCache, rounded
from dobby_dagster.inference.packed.packed_weights import Block, LastLayer, Layer, Weights
from dobby_dagster.inference.packed.packing import Packing

# Prompts are padded to a multiple of this, in the attention only.
LENGTH_STEP = 16


class PackedNetwork:
    """Qwen2 or Llama on the CPU; see :class:`~dobby_dagster.inference.local.network.Network`.

    Linear layers see the tokens of all prompts end to end, so that no padding is multiplied; only the attention sees
    prompts apart. The query heads that share a key-value head are rows of one matrix there: several times faster in
    bfloat16 than torch's own on a CPU.

    Args:
        weights: What :func:`~dobby_dagster.inference.packed.packed_weights.load_weights` gives.
        batch_invariant: Decode with all slots of a cache and all its columns, in use or not, so that no number
            depends on how many requests share it.
    """

    def __init__(self, weights: Weights, *, batch_invariant: bool = False) -> None:
        self.weights = weights
        self.batch_invariant = batch_invariant
        self.config = weights.config
        self.dtype = weights.embedding.dtype

    def slots(self, rows: int, columns: int) -> SlotCache:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        return SlotCache(self.config, rows, columns, self.dtype)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prefix(self, ids: Sequence[int]) -> Prefix:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        cache = self.slots(1, rounded(len(ids), LENGTH_STEP))
        self.prefill([ids], cache, 0)
        return Prefix(tuple(ids), cache.keys[:, 0, :, :, : len(ids)].clone(), cache.values[:, 0, :, : len(ids)].clone())

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prefill(
        self, prompts: Sequence[Sequence[int]], slots: SlotCache, first: int, prefix: Prefix | None = None
    ) -> np.ndarray:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        heads, kv_heads, head_dim = self.config.num_heads, self.config.num_kv_heads, self.config.head_dim
        offset = len(prefix.ids) if prefix else 0
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        longest = rounded(int(lengths.max()), LENGTH_STEP)
        packing = Packing(lengths, longest, heads, kv_heads)
        ids = torch.zeros(packing.tokens, dtype=torch.long)
        ids[: packing.used] = torch.tensor([token for prompt in prompts for token in prompt])
        cosine, sine = self._angles(packing.positions + offset)
        x = self.weights.embedding[ids]
        mask = causal(longest, offset, self.dtype)
        rows = slice(first, first + len(prompts))
        for index, layer in enumerate(self.weights.layers):
            qkv = layer.query_key_value(self._norm(x)).view(-1, heads + 2 * kv_heads, head_dim)
            rotated = _rotated(qkv[:, :-kv_heads], cosine, sine)
            keys, values = packing.unpack_kv(rotated[:, heads:]), packing.unpack_kv(qkv[:, -kv_heads:])
            keys, values = slots.store(index, rows, keys, values, prefix)
            attended = attend(packing.unpack(rotated[:, :heads]), keys, values, mask, self.config.group_size)
            x = self._after_attention(layer, packing.pack(attended), x)
        # The last layer needs keys and values of all tokens, but the query of each prompt's last token only.
        kv = self.weights.last.key_value(self._norm(x)).view(-1, 2 * kv_heads, head_dim)
        keys = packing.unpack_kv(_rotated(kv[:, :kv_heads], cosine, sine))
        keys, values = slots.store(-1, rows, keys, packing.unpack_kv(kv[:, kv_heads:]), prefix)
        return _logits(self._last_tokens(x[packing.last], keys, values, lengths + offset))

    def _last_tokens(
        self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """The last layer and the head for the last token of each prompt: (prompts, hidden) to (prompts, vocabulary).

        ``keys`` and ``values`` are (prompts, key-value heads, tokens, head size), of which ``lengths`` are in use.
        """
        config, layer, count = self.config, self.weights.last, len(lengths)
        query = layer.query(self._norm(x)).view(count, config.num_heads, config.head_dim)
        query = _rotated(query, *self._angles(lengths - 1))
        seen = torch.arange(keys.shape[2]) < lengths[:, None]
        mask = torch.zeros(seen.shape, dtype=self.dtype).masked_fill_(~seen, HIDDEN)
        matrices = count * config.num_kv_heads
        attended = product(
            query.reshape(matrices, config.group_size, config.head_dim),
            keys.reshape(matrices, -1, config.head_dim).transpose(1, 2),
            values.reshape(matrices, -1, config.head_dim),
            mask.repeat_interleave(config.num_kv_heads, 0)[:, None],
        )
        return self.weights.head(self._norm(self._after_attention(layer, attended.reshape(count, -1), x)))

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def decode(self, tokens: Sequence[int], positions: Sequence[int], slots: SlotCache) -> np.ndarray:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        running = len(tokens)
        rows = slots.rows if self.batch_invariant else min(slots.rows, rounded(running, ROW_STEP))
        ids, places = (functional.pad(torch.tensor(each), (0, rows - running)) for each in (tokens, positions))
        return _logits(self._decode(ids, places, slots)[:running])

    def _decode(self, tokens: torch.Tensor, positions: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """For (rows,) tokens and positions, logits of (rows, vocabulary)."""
        heads, kv_heads, head_dim = self.config.num_heads, self.config.num_kv_heads, self.config.head_dim
        rows = len(tokens)
        matrices = rows * kv_heads
        needed = rounded(int(positions.max()) + 1, COLUMN_STEP)
        # A part of the columns has to be copied before it is multiplied, which costs as much as half of them again.
        columns = cache.columns if self.batch_invariant or needed * 3 >= cache.columns * 2 else needed
        cosine, sine = self._angles(positions)
        hidden = (torch.arange(columns) > positions[:, None]).to(self.dtype) * HIDDEN
        mask = hidden.repeat_interleave(kv_heads, 0)[:, None]
        column = positions.repeat_interleave(kv_heads)
        value_places = torch.arange(matrices) * cache.columns + column
        key_rows = torch.arange(matrices)[:, None] * head_dim + torch.arange(head_dim)
        key_places = (key_rows * cache.columns + column[:, None]).view(-1)
        x = self.weights.embedding[tokens]
        layers: list[Layer | LastLayer] = [*self.weights.layers, self.weights.last]
        for index, layer in enumerate(layers):
            qkv = layer.query_key_value(self._norm(x)).view(rows, -1, head_dim)
            rotated = _rotated(qkv[:, :-kv_heads], cosine, sine)
            keys, values = cache.keys[index, :rows], cache.values[index, :rows]
            keys.view(-1).index_copy_(0, key_places, rotated[:, heads:].reshape(-1))
            values.view(-1, head_dim).index_copy_(0, value_places, qkv[:, -kv_heads:].reshape(-1, head_dim))
            attended = product(
                rotated[:, :heads].reshape(matrices, self.config.group_size, head_dim),
                keys.view(matrices, head_dim, -1)[:, :, :columns],
                values.view(matrices, -1, head_dim)[:, :columns],
                mask,
            )
            x = self._after_attention(layer, attended.view(rows, -1), x)
        return self.weights.head(self._norm(x))

    def _after_attention(self, layer: Block, attended: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        x = layer.out.plus(attended, x)
        normed = self._norm(x)
        return layer.down.plus(layer.up.times(normed, layer.gate.swish(normed)), x)

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        """Root mean square norm without its gain (Zhang and Sennrich 2019); torch's own is far slower on a CPU."""
        mean = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_().div_(x.shape[-1])
        return x * mean.add_(self.config.rms_norm_eps).rsqrt_().to(x.dtype)

    def _angles(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weights.cosine[positions][:, None], self.weights.sine[positions][:, None]


def _rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """The rotary embedding of (tokens, heads, size)."""
    half = x.shape[-1] // 2
    return torch.addcmul(x * cosine, torch.cat([x[..., half:], x[..., :half]], -1), sine)


def _logits(x: torch.Tensor) -> np.ndarray:
    found: np.ndarray = x.float().numpy()
    return found
