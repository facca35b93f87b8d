"""A checkpoint's weights, folded for inference: joined query, key and value, with the norms' gains multiplied in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch

from dobby_dagster.inference.models.checkpoint import EMBEDDING, HEAD, Checkpoint
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.packed.linear_layer import Linear, can_prepack

# A weight (out, in), and a bias (out,) where the architecture has one.
Projection: TypeAlias = tuple[torch.Tensor, torch.Tensor | None]


@dataclass(frozen=True, slots=True)
class Block:
    """What follows the attention in a layer: the output projection, and the feed-forward network."""

    out: Linear
    gate: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Layer(Block):
    """A layer whose projections are one matrix: (tokens, hidden) to (tokens, queries + keys + values)."""

    query_key_value: Linear


@dataclass(frozen=True, slots=True)
class LastLayer(Block):
    """The last layer: in prefill only a prompt's last token needs a query there, but all need keys and values."""

    query: Linear
    key_value: Linear

    def query_key_value(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) to (tokens, queries + keys + values)."""
        return torch.cat([self.query(x), self.key_value(x)], -1)


@dataclass(frozen=True, slots=True)
class Weights:
    """All of a model, ready to multiply.

    Attributes:
        embedding: (vocabulary, hidden).
        layers: All but the last.
        head: (tokens, hidden) to (tokens, vocabulary).
        cosine, sine: Of the rotary embedding, (positions, head size).
        parameters: How many numbers the model has.
        bytes: Of the weights in memory.
    """

    config: ModelConfig
    embedding: torch.Tensor
    layers: list[Layer]
    last: LastLayer
    head: Linear
    cosine: torch.Tensor
    sine: torch.Tensor
    parameters: int
    bytes: int


def load_weights(source: ModelSource, dtype: torch.dtype, positions: int | None = None) -> Weights:
    """Read, check and fold the weights of a model; one layer at a time, so that the peak stays near the size.

    Args:
        source: A checked model.
        dtype: Of the weights.
        positions: The most tokens that a prompt and its output will have; None: as many as the model supports.

    Raises:
        ModelError: A tensor is missing, or its shape does not fit the configuration.
    """
    with Checkpoint(source, "pt") as checkpoint:
        return _Folding(source, dtype, checkpoint, positions).weights()


class _Folding:
    """Reads tensors in float32, folds them, and casts the results to ``dtype``."""

    def __init__(self, source: ModelSource, dtype: torch.dtype, checkpoint: Checkpoint, positions: int | None) -> None:
        self._checkpoint = checkpoint
        self._dtype = dtype
        self._config = source.config
        self._positions = min(source.config.max_position_embeddings, positions or source.config.max_position_embeddings)
        self._prepacked = can_prepack(dtype)
        self._bytes = 0

    def weights(self) -> Weights:
        config = self._config
        embedding = self._read(EMBEDDING, config.vocab_size, config.hidden_size)
        head = embedding if self._checkpoint.tied else self._read(HEAD, config.vocab_size, config.hidden_size)
        layers = [self._layer(index) for index in range(config.num_layers - 1)]
        last = self._last_layer(config.num_layers - 1)
        cosine, sine = _angles(config, self._positions)
        return Weights(
            config=config,
            embedding=embedding.to(self._dtype),
            layers=layers,
            last=last,
            head=self._linear(head * self._read("model.norm.weight", config.hidden_size)),
            cosine=cosine.to(self._dtype),
            sine=sine.to(self._dtype),
            parameters=self._checkpoint.parameters,
            bytes=self._bytes + embedding.numel() * self._dtype.itemsize,
        )

    def _layer(self, index: int) -> Layer:
        query, key, value = self._projections(index)
        return Layer(query_key_value=self._joined(query, key, value), **self._block(index))

    def _last_layer(self, index: int) -> LastLayer:
        query, key, value = self._projections(index)
        return LastLayer(query=self._joined(query), key_value=self._joined(key, value), **self._block(index))

    def _block(self, index: int) -> dict[str, Linear]:
        prefix, hidden, intermediate = f"model.layers.{index}", self._config.hidden_size, self._config.intermediate_size
        gain = self._read(f"{prefix}.post_attention_layernorm.weight", hidden)
        attended = self._config.num_heads * self._config.head_dim
        return {
            "out": self._linear(self._read(f"{prefix}.self_attn.o_proj.weight", hidden, attended)),
            "gate": self._linear(self._read(f"{prefix}.mlp.gate_proj.weight", intermediate, hidden) * gain),
            "up": self._linear(self._read(f"{prefix}.mlp.up_proj.weight", intermediate, hidden) * gain),
            "down": self._linear(self._read(f"{prefix}.mlp.down_proj.weight", hidden, intermediate)),
        }

    def _projections(self, index: int) -> tuple[Projection, Projection, Projection]:
        """To queries, keys and values; the scores' scale is in the queries'."""
        config, prefix = self._config, f"model.layers.{index}"
        gain = self._read(f"{prefix}.input_layernorm.weight", config.hidden_size)
        scale, kv_rows = config.head_dim**-0.5, config.num_kv_heads * config.head_dim
        return (
            self._projection(f"{prefix}.self_attn.q_proj", config.num_heads * config.head_dim, gain * scale, scale),
            self._projection(f"{prefix}.self_attn.k_proj", kv_rows, gain),
            self._projection(f"{prefix}.self_attn.v_proj", kv_rows, gain),
        )

    def _projection(self, name: str, rows: int, gain: torch.Tensor, scale: float = 1.0) -> Projection:
        """Weight and bias of one projection, the gain of the norm before it and the scores' scale folded in."""
        bias = self._read(f"{name}.bias", rows) * scale if self._config.qkv_bias else None
        return self._read(f"{name}.weight", rows, self._config.hidden_size) * gain, bias

    def _joined(self, *projections: Projection) -> Linear:
        biases = [bias for _, bias in projections if bias is not None]
        return self._linear(torch.cat([weight for weight, _ in projections]), torch.cat(biases) if biases else None)

    def _linear(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
        self._bytes += weight.numel() * self._dtype.itemsize
        cast = None if bias is None else bias.to(self._dtype)
        return Linear(weight.to(self._dtype), cast, prepacked=self._prepacked)

    def _read(self, name: str, *shape: int) -> torch.Tensor:
        tensor: torch.Tensor = self._checkpoint.read(name, *shape).float()
        return tensor


def _angles(config: ModelConfig, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of the rotary embedding (Su et al. 2021), (positions, head size) each.

    The first half of the sine is negative: rotating is then ``x * cosine + halves exchanged(x) * sine``.
    """
    frequencies = 1.0 / config.rotary.rope_theta ** (torch.arange(0, config.head_dim, 2).float() / config.head_dim)
    angles = torch.outer(torch.arange(positions).float(), frequencies)
    return torch.cat([angles.cos()] * 2, -1), torch.cat([-angles.sin(), angles.sin()], -1)
