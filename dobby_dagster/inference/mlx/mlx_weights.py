"""A checkpoint's weights as arrays of MLX, quantized where the settings ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from dobby_dagster.inference.mlx.mlx_device import stream_on
from dobby_dagster.inference.models.checkpoint import EMBEDDING, HEAD, Checkpoint
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.models.model_source import ModelSource

# Numbers that share a scale and a bias in a quantized matrix, where its rows can be divided so.
GROUPS = (64, 32)


class Matrix:
    """A weight in the model's dtype, or quantized by MLX, as far as a group size divides its rows.

    Args:
        weight: (out, in).
        bits: 4 or 8 to quantize it; 0 to keep it.
        bias: (out,), or None.

    Attributes:
        bytes: In memory.
    """

    def __init__(self, weight: mx.array, bits: int, bias: mx.array | None = None) -> None:
        self._bias = bias
        self._bits = bits
        self._group = next((size for size in GROUPS if bits and weight.shape[1] % size == 0), 0)
        self._arrays = mx.quantize(weight, group_size=self._group, bits=bits) if self._group else (weight,)
        mx.eval(*self._arrays, *([] if bias is None else [bias]))  # now, so that the weight in full size is freed
        self.bytes: int = sum(array.nbytes for array in self._arrays)

    def __call__(self, x: mx.array) -> mx.array:
        """``x @ weight.T + bias``: (…, in) to (…, out)."""
        if self._group:
            y = mx.quantized_matmul(x, *self._arrays, group_size=self._group, bits=self._bits)
        else:
            y = x @ self._arrays[0].T
        return y if self._bias is None else y + self._bias

    def rows(self, ids: mx.array) -> mx.array:
        """Rows of the weight by their indices: (…) to (…, in)."""
        found = [array[ids] for array in self._arrays]
        return mx.dequantize(*found, group_size=self._group, bits=self._bits) if self._group else found[0]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the norms' gains (hidden,), and the projections."""

    attention_norm: mx.array
    query_key_value: Matrix
    out: Matrix
    feed_forward_norm: mx.array
    gate_up: Matrix
    down: Matrix

    @property
    def bytes(self) -> int:
        """Of its matrices in memory."""
        return sum(each.bytes for each in (self.query_key_value, self.out, self.gate_up, self.down))


@dataclass(frozen=True, slots=True)
class Weights:
    """All of a model.

    Attributes:
        embedding: (vocabulary, hidden).
        norm: Gain before the head, (hidden,).
        head: (vocabulary, hidden); the embedding where these are tied.
        parameters: How many numbers the model has.
    """

    config: ModelConfig
    embedding: Matrix
    layers: list[Layer]
    norm: mx.array
    head: Matrix
    parameters: int

    @property
    def bytes(self) -> int:
        """Of its matrices in memory."""
        head = 0 if self.head is self.embedding else self.head.bytes
        return self.embedding.bytes + head + sum(layer.bytes for layer in self.layers)


def load_weights(source: ModelSource, dtype: str, device: str, bits: int = 0) -> Weights:
    """Read and check the weights of a model, one matrix at a time, so that the peak stays near the size.

    Args:
        source: A checked model.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: ``cpu`` or ``mps``.
        bits: 4 or 8 to quantize the matrices; 0 to keep them.

    Raises:
        ModelError: A tensor is missing, or its shape does not fit the configuration.
    """
    with mx.stream(stream_on(device)), Checkpoint(source, "np") as checkpoint:
        return _Reader(source.config, checkpoint, getattr(mx, dtype), bits).weights()


class _Reader:
    """Reads tensors in float32, and casts or quantizes them."""

    def __init__(self, config: ModelConfig, checkpoint: Checkpoint, dtype: mx.Dtype, bits: int) -> None:
        self._config = config
        self._checkpoint = checkpoint
        self._dtype = dtype
        self._bits = bits

    def weights(self) -> Weights:
        config = self._config
        embedding = self._matrix(EMBEDDING, config.vocab_size, config.hidden_size)
        tied = self._checkpoint.tied
        return Weights(
            config=config,
            embedding=embedding,
            layers=[self._layer(index) for index in range(config.num_layers)],
            norm=self._read("model.norm.weight", config.hidden_size),
            head=embedding if tied else self._matrix(HEAD, config.vocab_size, config.hidden_size),
            parameters=self._checkpoint.parameters,
        )

    def _layer(self, index: int) -> Layer:
        config, prefix = self._config, f"model.layers.{index}"
        hidden, wide = config.hidden_size, config.intermediate_size
        queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        return Layer(
            attention_norm=self._read(f"{prefix}.input_layernorm.weight", hidden),
            query_key_value=self._joined(
                [f"{prefix}.self_attn.{each}_proj" for each in "qkv"], [queries, keys, keys], bias=config.qkv_bias
            ),
            out=self._matrix(f"{prefix}.self_attn.o_proj.weight", hidden, queries),
            feed_forward_norm=self._read(f"{prefix}.post_attention_layernorm.weight", hidden),
            gate_up=self._joined([f"{prefix}.mlp.{each}_proj" for each in ("gate", "up")], [wide, wide], bias=False),
            down=self._matrix(f"{prefix}.mlp.down_proj.weight", hidden, wide),
        )

    def _joined(self, names: list[str], rows: list[int], *, bias: bool) -> Matrix:
        """Several projections of the same input as one."""
        hidden, pairs = self._config.hidden_size, list(zip(names, rows, strict=True))
        weight = mx.concatenate([self._read(f"{name}.weight", count, hidden) for name, count in pairs])
        biases = mx.concatenate([self._read(f"{name}.bias", count) for name, count in pairs]) if bias else None
        return Matrix(weight, self._bits, biases)

    def _matrix(self, name: str, rows: int, columns: int) -> Matrix:
        return Matrix(self._read(name, rows, columns), self._bits)

    def _read(self, name: str, *shape: int) -> mx.array:
        array = mx.array(np.asarray(self._checkpoint.read(name, *shape), dtype=np.float32)).astype(self._dtype)
        mx.eval(array)
        return array
