"""A checkpoint's tensors, folded for inference: one matrix for query, key and value, and no gain left to multiply."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dobby_dagster.inference.models.architecture import Shape
from dobby_dagster.inference.models.checkpoint import EMBEDDING, HEAD, Checkpoint
from dobby_dagster.inference.models.model_folder import ModelFolder
from dobby_dagster.inference.packed.linear_layer import Linear, can_prepack


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. The joined projections give queries first, then keys, then values.

    The last block has them apart: only the last token of a prompt asks there, though all are attended to.
    """

    query_key_value: Linear | None
    query: Linear | None
    key_value: Linear | None
    out: Linear
    gate: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Weights:
    """All of a model, ready to multiply."""

    shape: Shape
    embedding: torch.Tensor
    layers: list[Layer]
    head: Linear
    cosine: torch.Tensor
    sine: torch.Tensor
    parameters: int
    bytes: int


def load_weights(folder: ModelFolder, dtype: torch.dtype, positions: int | None = None) -> Weights:
    """Read, check and fold the weights of a folder; one layer at a time, so that the peak stays near the size.

    Args:
        folder: A checked folder.
        dtype: Of the weights.
        positions: The most tokens that a prompt and its output will have; None for all that the model has.

    Raises:
        ModelError: A tensor is missing, or has another shape than the configuration says.
    """
    with Checkpoint(folder, "pt") as checkpoint:
        return _Folding(folder, dtype, checkpoint, positions).weights()


class _Folding:
    """Reads tensors in float32, folds them, and casts what comes out to ``dtype``."""

    def __init__(self, folder: ModelFolder, dtype: torch.dtype, checkpoint: Checkpoint, positions: int | None) -> None:
        self._checkpoint = checkpoint
        self._dtype = dtype
        self._shape = folder.shape
        self._positions = min(folder.shape.positions, positions or folder.shape.positions)
        self._prepacked = can_prepack(dtype)
        self._bytes = 0

    def weights(self) -> Weights:
        shape = self._shape
        embedding = self._read(EMBEDDING, shape.vocabulary, shape.hidden)
        head = embedding if self._checkpoint.tied else self._read(HEAD, shape.vocabulary, shape.hidden)
        layers = [self._layer(index) for index in range(shape.layers)]
        cosine, sine = _angles(shape, self._positions)
        return Weights(
            shape=shape,
            embedding=embedding.to(self._dtype),
            layers=layers,
            head=self._linear(head * self._read("model.norm.weight", shape.hidden)),
            cosine=cosine.to(self._dtype),
            sine=sine.to(self._dtype),
            parameters=self._checkpoint.parameters,
            bytes=self._bytes + embedding.numel() * self._dtype.itemsize,
        )

    def _layer(self, index: int) -> Layer:
        shape, prefix = self._shape, f"model.layers.{index}."
        hidden, inner = shape.hidden, shape.inner
        before = self._read(f"{prefix}input_layernorm.weight", hidden)
        between = self._read(f"{prefix}post_attention_layernorm.weight", hidden)
        attended = shape.heads * shape.size
        query = self._projection(f"{prefix}self_attn.q_proj", attended, before * shape.size**-0.5, shape.size**-0.5)
        key, value = (self._projection(f"{prefix}self_attn.{n}_proj", shape.shared * shape.size, before) for n in "kv")
        last = index == shape.layers - 1
        return Layer(
            query_key_value=None if last else self._joined(query, key, value),
            query=self._joined(query) if last else None,
            key_value=self._joined(key, value) if last else None,
            out=self._linear(self._read(f"{prefix}self_attn.o_proj.weight", hidden, attended)),
            gate=self._linear(self._read(f"{prefix}mlp.gate_proj.weight", inner, hidden) * between),
            up=self._linear(self._read(f"{prefix}mlp.up_proj.weight", inner, hidden) * between),
            down=self._linear(self._read(f"{prefix}mlp.down_proj.weight", hidden, inner)),
        )

    def _projection(
        self, name: str, rows: int, gain: torch.Tensor, scale: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias of one projection, the gain of the norm before it and the scores' scale folded in."""
        bias = self._read(f"{name}.bias", rows) * scale if self._shape.biased else None
        return self._read(f"{name}.weight", rows, self._shape.hidden) * gain, bias

    def _joined(self, *projections: tuple[torch.Tensor, torch.Tensor | None]) -> Linear:
        biases = [bias for _, bias in projections if bias is not None]
        return self._linear(torch.cat([weight for weight, _ in projections]), torch.cat(biases) if biases else None)

    def _linear(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
        self._bytes += weight.numel() * self._dtype.itemsize
        cast = None if bias is None else bias.to(self._dtype)
        return Linear(weight.to(self._dtype), cast, prepacked=self._prepacked)

    def _read(self, name: str, *shape: int) -> torch.Tensor:
        tensor: torch.Tensor = self._checkpoint.read(name, *shape).float()
        return tensor


def _angles(shape: Shape, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of the rotary embedding (Su et al. 2021), (positions, head size) each.

    The first half of the sine is negative: rotating is then ``x * cosine + halves exchanged(x) * sine``.
    """
    frequencies = 1.0 / shape.rotary.rope_theta ** (torch.arange(0, shape.size, 2).float() / shape.size)
    angles = torch.outer(torch.arange(positions).float(), frequencies)
    return torch.cat([angles.cos()] * 2, -1), torch.cat([-angles.sin(), angles.sin()], -1)
