"""A Llama whose tokens lie end to end in one row: every shape but attention's is always the same, as compilers like it.

Only torch is needed, so that it runs wherever there is a device. The parameters have transformers' names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

Tensor = torch.Tensor


@dataclass(frozen=True)
class Sizes:
    """Numbers of the architecture, by their names in ``config.json``."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float

    @classmethod
    def of(cls, config: dict[str, Any]) -> Sizes:
        """The numbers of a ``config.json``."""
        theta = float(config["rope_parameters"]["rope_theta"])
        return cls(**{name: config[name] for name in cls.__annotations__ if name != "rope_theta"}, rope_theta=theta)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Root mean square norm in float32 (Zhang and Sennrich 2019)."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)).to(x.dtype) * weight.to(x.dtype)


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021) of (tokens, heads, size)."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine


def before_attention(
    x: Tensor, norm: Tensor, query: Tensor, key: Tensor, value: Tensor, cosine: Tensor, sine: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of every token: (tokens, heads, size) each."""
    normed, size = rms_norm(x, norm, epsilon), cosine.shape[-1]
    q, k, v = (
        functional.linear(normed, weight.to(x.dtype)).unflatten(-1, (-1, size)) for weight in (query, key, value)
    )
    return rotated(q, cosine, sine), rotated(k, cosine, sine), v


def after_attention(
    x: Tensor, attended: Tensor, output: Tensor, norm: Tensor, gate: Tensor, up: Tensor, down: Tensor, epsilon: float
) -> Tensor:
    """The rest of a layer, from what attention gave."""
    x = x + functional.linear(attended, output.to(x.dtype))
    normed = rms_norm(x, norm, epsilon)
    inner = functional.silu(functional.linear(normed, gate.to(x.dtype))) * functional.linear(normed, up.to(x.dtype))
    return x + functional.linear(inner, down.to(x.dtype))


class Layer(nn.Module):
    """One decoder layer."""

    NAMES = (
        "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    )  # fmt: skip

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        hidden, inner, size = sizes.hidden_size, sizes.intermediate_size, sizes.head_dim
        queries, keys = sizes.num_attention_heads * size, sizes.num_key_value_heads * size
        shapes = [
            (hidden,), (queries, hidden), (keys, hidden), (keys, hidden), (hidden, queries),
            (hidden,), (inner, hidden), (inner, hidden), (hidden, inner),
        ]  # fmt: skip
        self.values = nn.ParameterList([torch.ones(s) if len(s) == 1 else torch.randn(s) * 0.02 for s in shapes])


class Llama(nn.Module):
    """Embedding, layers, and a head that shares the embedding's matrix.

    Args:
        sizes: Of the architecture.
        compiled: Whether the parts of a layer beside attention are compiled.
        dtype: Of the activations.
    """

    def __init__(self, sizes: Sizes, *, compiled: bool = False, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.sizes, self.dtype = sizes, dtype
        self.embedding = nn.Parameter(torch.randn(sizes.vocab_size, sizes.hidden_size) * 0.02)
        self.norm = nn.Parameter(torch.ones(sizes.hidden_size))
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_hidden_layers))
        self.before = torch.compile(before_attention) if compiled else before_attention
        self.after = torch.compile(after_attention) if compiled else after_attention

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine for each token, (tokens, 1, head size)."""
        size = self.sizes.head_dim
        steps = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size
        angles = positions[:, None].float() * self.sizes.rope_theta**-steps
        angles = torch.cat([angles, angles], -1)[:, None]
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    def hidden(self, ids: Tensor, positions: Tensor, rows: int, length: int, without: int = -1) -> list[Tensor]:
        """What comes into each layer, and out of the last, (tokens, hidden) each.

        Args:
            ids: (tokens,), of which the first ``rows * length`` are rows of ``length`` and the rest is filling.
            positions: (tokens,) of each in its row.
            rows: Sequences, right-padded.
            length: Of each.
            without: A layer that is left out.
        """
        cosine, sine = self.angles(positions)
        states = [functional.embedding(ids, self.embedding).to(self.dtype)]
        for index, layer in enumerate(self.layers):
            if index == without:
                continue
            norm, query, key, value, output, *rest = layer.values
            q, k, v = self.before(states[-1], norm, query, key, value, cosine, sine, self.sizes.rms_norm_eps)
            attended = self.attention(q, k, v, rows, length)
            states.append(self.after(states[-1], attended, output, *rest, self.sizes.rms_norm_eps))
        return states

    def attention(self, query: Tensor, key: Tensor, value: Tensor, rows: int, length: int) -> Tensor:
        """Causal attention inside each row, (tokens, hidden)."""
        tokens, group = len(query), self.sizes.num_attention_heads // self.sizes.num_key_value_heads
        q, k, v = (
            x[: rows * length].view(rows, length, -1, self.sizes.head_dim).transpose(1, 2) for x in (query, key, value)
        )
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        out = (
            functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(rows * length, -1)
        )
        return functional.pad(out, (0, 0, 0, tokens - rows * length))

    def logits(self, state: Tensor, places: Tensor) -> Tensor:
        """(places, vocabulary) of what follows the tokens at ``places``."""
        normed = rms_norm(state[places], self.norm, self.sizes.rms_norm_eps)
        return functional.linear(normed, self.embedding.to(self.dtype))

    def named(self) -> dict[str, Tensor]:
        """The parameters by transformers' names."""
        found = {"model.embed_tokens.weight": self.embedding, "model.norm.weight": self.norm}
        for index, layer in enumerate(self.layers):
            found |= {f"model.layers.{index}.{n}.weight": v for n, v in zip(Layer.NAMES, layer.values, strict=True)}
        return found

    @torch.no_grad()
    def take(self, state: dict[str, Tensor]) -> None:
        """Take parameters by transformers' names."""
        for name, parameter in self.named().items():
            parameter.copy_(state[name].to(parameter.device, parameter.dtype))


def load(folder: Path, **options: Any) -> Llama:
    """The model of a folder in transformers' layout, in float32 with bfloat16 activations."""
    model = Llama(Sizes.of(json.loads((folder / "config.json").read_text())), **options)
    model.take(load_file(folder / "model.safetensors"))
    return model
