"""The forward pass by MLX: prefill of prompts padded to one length, and decoding of one token per slot."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx

from dobby_dagster.inference.mlx.mlx_device import on_stream, stream_on
from dobby_dagster.inference.mlx.mlx_logits import MlxLogits
from dobby_dagster.inference.mlx.mlx_slots import COLUMN_STEP, MlxSlots, Prefix, rounded
from dobby_dagster.inference.mlx.mlx_weights import Layer, Weights
from dobby_dagster.inference.models.rotary_frequencies import rotary_frequencies

# Prompts are padded to a multiple of LENGTH_STEP, and slots are decoded in multiples of ROW_STEP and COLUMN_STEP, so
# that there are few shapes, and buffers of the same sizes are used again and again.
LENGTH_STEP = 32
ROW_STEP = 8


class MlxNetwork:
    """Qwen2 or Llama; see :class:`~dobby_dagster.inference.local.network.Network`.

    Args:
        weights: What :func:`~dobby_dagster.inference.mlx.mlx_weights.load_weights` gives.
        device: ``cpu`` or ``mps``.
        batch_invariant: Decode with all slots and all their columns, in use or not, so that no shape, and with it no
            number, depends on how many requests share them.
    """

    def __init__(self, weights: Weights, device: str, *, batch_invariant: bool = False) -> None:
        self.batch_invariant = batch_invariant
        self.stream = stream_on(device)
        self._weights = weights
        self._config = weights.config
        frequencies, self._rotary_factor = rotary_frequencies(weights.config.rotary, weights.config.head_dim)
        with mx.stream(self.stream):
            self._periods = mx.array(1 / frequencies, mx.float32)
            mx.eval(self._periods)

    def slots(self, rows: int, columns: int) -> MlxSlots:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        return MlxSlots(self._config, rows, columns, self._weights.norm.dtype, self.stream)

    @on_stream
    def prefix(self, ids: Sequence[int]) -> Prefix:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        slots, length = self.slots(1, len(ids)), len(ids)
        self.prefill([ids], slots, 0)
        keys, values = ([cache[:, :, :length] for cache in caches] for caches in (slots.keys, slots.values))
        mx.eval(keys, values)
        return Prefix(length, keys, values)

    @on_stream
    def prefill(
        self, prompts: Sequence[Sequence[int]], slots: MlxSlots, first: int, prefix: Prefix | None = None
    ) -> MlxLogits:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        offset, count = prefix.length if prefix else 0, len(prompts)
        lengths = [len(prompt) for prompt in prompts]
        longest = rounded(max(lengths), LENGTH_STEP)
        # Padding is to the right, where a causal mask hides it from the prompt.
        ids = mx.array([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts])
        rows, end = slice(first, first + count), min(slots.columns, offset + longest)
        x = self._weights.embedding.rows(ids)
        for index, layer in enumerate(self._weights.layers):
            query, key, value = self._projected(layer, x, offset)
            if prefix:
                key, value = (
                    mx.concatenate([mx.broadcast_to(old[index], (count, *old[index].shape[1:])), new], axis=2)
                    for old, new in ((prefix.keys, key), (prefix.values, value))
                )
            slots.keys[index][rows, :, :end] = key[:, :, :end]
            slots.values[index][rows, :, :end] = value[:, :, :end]
            x = self._after_attention(layer, self._attended(query, key, value, "causal"), x)
        return self._logits(x[mx.arange(count), mx.array(lengths) - 1], slots)

    @on_stream
    def decode(self, tokens: Sequence[int], positions: Sequence[int], slots: MlxSlots) -> MlxLogits:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        running = len(tokens)
        rows = slots.rows if self.batch_invariant else min(slots.rows, rounded(running, ROW_STEP))
        columns = slots.columns if self.batch_invariant else rounded(max(positions) + 1, COLUMN_STEP)
        unused = [0] * (rows - running)
        ids, places, every = mx.array([*tokens, *unused]), mx.array([*positions, *unused]), mx.arange(rows)
        mask = (mx.arange(columns) <= places[:, None])[:, None, None]
        x = self._weights.embedding.rows(ids)[:, None]
        for index, layer in enumerate(self._weights.layers):
            query, key, value = self._projected(layer, x, places)
            keys, values = slots.keys[index], slots.values[index]
            keys[every, :, places], values[every, :, places] = key[:, :, 0], value[:, :, 0]
            attended = self._attended(query, keys[:rows, :, :columns], values[:rows, :, :columns], mask)
            x = self._after_attention(layer, attended, x)
        return self._logits(x[:running, 0], slots)

    def _projected(self, layer: Layer, x: mx.array, offset: int | mx.array) -> tuple[mx.array, mx.array, mx.array]:
        """Rotated queries and keys, and values, of (rows, tokens, hidden): (rows, heads, tokens, head size) each."""
        config, (rows, tokens, _) = self._config, x.shape
        heads, kv_heads = config.num_heads, config.num_kv_heads
        joined = layer.query_key_value(self._norm(x, layer.attention_norm))
        joined = joined.reshape(rows, tokens, heads + 2 * kv_heads, config.head_dim).transpose(0, 2, 1, 3)
        rotated = mx.fast.rope(
            joined[:, : heads + kv_heads],
            config.head_dim,
            traditional=False,
            base=None,
            scale=1.0,
            offset=offset,
            freqs=self._periods,
        )
        if self._rotary_factor != 1.0:
            rotated = rotated * self._rotary_factor
        return rotated[:, :heads], rotated[:, heads:], joined[:, heads + kv_heads :]

    def _attended(self, query: mx.array, keys: mx.array, values: mx.array, mask: mx.array | str) -> mx.array:
        """(rows, tokens, heads * head size)."""
        scale = self._config.head_dim**-0.5
        mixed = mx.fast.scaled_dot_product_attention(query, keys, values, scale=scale, mask=mask)
        return mixed.transpose(0, 2, 1, 3).reshape(mixed.shape[0], mixed.shape[2], -1)

    def _after_attention(self, layer: Layer, attended: mx.array, x: mx.array) -> mx.array:
        x = x + layer.out(attended)
        gate, up = mx.split(layer.gate_up(self._norm(x, layer.feed_forward_norm)), 2, axis=-1)
        return x + layer.down(gate * mx.sigmoid(gate) * up)

    def _norm(self, x: mx.array, gain: mx.array) -> mx.array:
        return mx.fast.rms_norm(x, gain, self._config.rms_norm_eps)

    def _logits(self, x: mx.array, slots: MlxSlots) -> MlxLogits:
        """For (sequences, hidden), (sequences, vocabulary)."""
        return MlxLogits(self._weights.head(self._norm(x, self._weights.norm)), slots.keys, slots.values)
