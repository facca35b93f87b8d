"""A Qwen2 or Llama decoder whose last layers are trained, by torch on the CPU or a GPU.

What the frozen layers give is the same in every epoch, so it is computed once for each example (see
:meth:`Decoder.lower`), and an epoch costs the trained layers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch.nn import functional

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.checkpoint import EMBEDDING, HEAD, Checkpoint
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.models.rotary_frequencies import rotary_frequencies

NORM = "model.norm.weight"


class Decoder:
    """Weights by their names in the checkpoint: those that are trained in float32, the others as activations.

    Args:
        config: Of the model.
        weights: By name; without a head of its own where it is tied to the embedding.
        trained: How many of the last layers are trained, with the norm after them; the rest never changes.
        dtype: Of activations: ``bfloat16`` where the processor multiplies it, else ``float32``.

    Attributes:
        parameters: What is trained, by name.
    """

    def __init__(
        self, config: ModelConfig, weights: Mapping[str, torch.Tensor], trained: int, dtype: torch.dtype
    ) -> None:
        self.config, self.dtype = config, dtype
        self.first_trained = max(0, config.num_layers - trained)
        layers = range(self.first_trained, config.num_layers)
        prefixes = (NORM, *(f"model.layers.{index}." for index in layers))
        learned = {name: value.float() for name, value in weights.items() if name.startswith(prefixes)}
        self.parameters = {name: value.clone().requires_grad_(True) for name, value in learned.items()}
        self.weights = {name: value.to(dtype) for name, value in weights.items()} | self.parameters
        frequencies, self._factor = rotary_frequencies(config.rotary, config.head_dim)
        self._frequencies = torch.from_numpy(frequencies).float()

    @property
    def bytes_per_token(self) -> int:
        """Of what :meth:`lower` gives."""
        return self.config.hidden_size * int(self.dtype.itemsize)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def lower(self, ids: torch.Tensor) -> torch.Tensor:
        """What the first trained layer gets, (rows, length, hidden) for (rows, length) token identifiers."""
        state = functional.embedding(ids, self.weights[EMBEDDING]).to(self.dtype)
        return self._layers(state, range(self.first_trained))

    def losses(self, state: torch.Tensor, places: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in nats for each of ``targets``, the tokens after ``places`` of the flattened rows.

        Args:
            state: (rows, length, hidden), as :meth:`lower` gives it.
            places: (losses,) indices.
            targets: (losses,) token identifiers.
        """
        last = self._layers(state, range(self.first_trained, self.config.num_layers))
        normed = self._norm(last.flatten(0, 1)[places], NORM)
        head = self.weights.get(HEAD, self.weights[EMBEDDING])
        logits = functional.linear(normed, head.to(self.dtype)).float()
        return functional.cross_entropy(logits, targets, reduction="none")

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def take(self, values: Mapping[str, torch.Tensor]) -> None:
        """Replace the trained parameters by ``values`` of the same names."""
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def _layers(self, state: torch.Tensor, layers: Iterable[int]) -> torch.Tensor:
        angles = torch.arange(state.shape[1]).float()[:, None] * self._frequencies
        angles = torch.cat([angles, angles], -1)
        cosine, sine = ((turned * self._factor).to(self.dtype) for turned in (angles.cos(), angles.sin()))
        for index in layers:
            state = self._layer(state, f"model.layers.{index}.", cosine, sine)
        return state

    def _layer(self, x: torch.Tensor, layer: str, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        normed = self._norm(x, f"{layer}input_layernorm.weight")
        query, key, value = (self._heads(normed, f"{layer}self_attn.{name}_proj") for name in "qkv")
        query, key = _rotated(query, cosine, sine), _rotated(key, cosine, sine)
        key, value = (each.repeat_interleave(self.config.group_size, 1) for each in (key, value))
        # Rows are padded at their ends, where there is no loss: the causal mask is the only one.
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self._linear(attended.transpose(1, 2).flatten(2), f"{layer}self_attn.o_proj")
        normed = self._norm(x, f"{layer}post_attention_layernorm.weight")
        gated = functional.silu(self._linear(normed, f"{layer}mlp.gate_proj"))
        return x + self._linear(gated * self._linear(normed, f"{layer}mlp.up_proj"), f"{layer}mlp.down_proj")

    def _heads(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """(rows, heads, length, head size)."""
        return self._linear(x, name).unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        bias = self.weights.get(f"{name}.bias")
        weight = self.weights[f"{name}.weight"].to(self.dtype)
        return functional.linear(x, weight, None if bias is None else bias.to(self.dtype))

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Root mean square norm (Zhang and Sennrich 2019); torch's own is far slower on a CPU."""
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square() / x.shape[-1]
        return x * torch.rsqrt(square + self.config.rms_norm_eps).to(x.dtype) * self.weights[name].to(x.dtype)


def trained_weights(source: ModelSource, decoder: Decoder) -> dict[str, torch.Tensor]:
    """All weights of the model on disk in float32, with those that ``decoder`` has trained in place of its own.

    Raises:
        ModelError: One can't be read.
    """
    return _read(source) | {name: value.detach() for name, value in decoder.parameters.items()}


def load_decoder(source: ModelSource, trained: int) -> Decoder:
    """The model on disk, quantized weights dequantized.

    Raises:
        ModelError: A weight can't be read, or the model computes what is not trained here.
    """
    if source.config.special_features:
        reason = next(iter(source.config.special_features.values()))
        raise ModelError(f"model {source.name} can't be adapted: {reason}", hint="adapt a shipped model")
    return Decoder(source.config, _read(source), trained, _native_dtype())


def _read(source: ModelSource) -> dict[str, torch.Tensor]:
    with Checkpoint(source, "pt") as checkpoint:
        weights = checkpoint.state(torch.float32)
        tied = checkpoint.tied
    if tied:
        weights.pop(HEAD, None)
    return weights


def _native_dtype() -> torch.dtype:
    from dobby_dagster.inference.local.devices import has_native_bfloat16

    return torch.bfloat16 if has_native_bfloat16() else torch.float32


def _rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """The rotary embedding (Su et al. 2021) of (rows, heads, length, head size)."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine
