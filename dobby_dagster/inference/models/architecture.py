"""What ``config.json`` says of a model's architecture, and whether Dobby's own passes through it can compute it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, NonNegativeInt

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_files import validated
from dobby_dagster.inference.models.rotary_embedding import Rotary, rotary_settings

ARCHITECTURES = {"qwen2": "Qwen2", "llama": "Llama"}
# Far beyond any model that runs here; what is allocated is bounded by the files, whose tensors these must fit.
Count = Annotated[int, Field(ge=1, le=10_000)]
Width = Annotated[int, Field(ge=1, le=10_000_000)]
# One identifier, several or none, as a list.
TokenIds = Annotated[list[int], BeforeValidator(lambda said: _listed(said))]


class _Config(BaseModel):
    """The numbers of ``config.json`` that decide what is computed; the rest is not looked at."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model_type: Literal["qwen2", "llama"]
    vocab_size: Width
    num_hidden_layers: Count
    hidden_size: Width
    intermediate_size: Width
    num_attention_heads: Count
    num_key_value_heads: Count | None = None
    head_dim: Width | None = None
    rms_norm_eps: Annotated[FiniteFloat, Field(ge=0, le=1)]
    max_position_embeddings: Annotated[int, Field(ge=1, le=1_000_000_000)]
    tie_word_embeddings: bool | None = False
    hidden_act: str = "silu"
    attention_bias: bool | None = False
    mlp_bias: bool | None = False
    use_sliding_window: bool | None = False
    sliding_window: NonNegativeInt | None = None
    layer_types: list[str] | None = None
    eos_token_id: TokenIds = []


class _Angles(BaseModel):
    rope_parameters: Rotary


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes, heads, and the angles of the rotary embedding.

    Attributes:
        heads, shared: Query heads, and the key-value heads that they share.
        size: Of a head.
        biased: Whether the projections to queries, keys and values have biases.
        tied: Whether the configuration says that the head's matrix is the embedding's.
        ends: Tokens that end an output, as the configuration names them.
        unusual: What only transformers computes; ``""`` where there is nothing.
    """

    vocabulary: int
    layers: int
    hidden: int
    inner: int
    heads: int
    shared: int
    size: int
    epsilon: float
    rotary: Rotary
    positions: int
    biased: bool
    tied: bool
    ends: frozenset[int]
    unusual: str

    @property
    def group(self) -> int:
        """Query heads that share a key-value head."""
        return self.heads // self.shared


def shape_of(said: Mapping[str, Any], folder: Path) -> Shape:
    """What a configuration says.

    Args:
        said: The object in ``config.json``.
        folder: Named in errors.

    Raises:
        ModelError: The architecture is none that is supported, or a number is missing or makes no sense.
    """
    file = folder / "config.json"
    if said.get("model_type") not in list(ARCHITECTURES):
        raise ModelError(
            f"{folder}: architecture {said.get('model_type')!r} is not supported",
            hint=f"supported: {', '.join(ARCHITECTURES.values())}",
        )
    config = validated(_Config, said, file)
    rotary = validated(_Angles, {"rope_parameters": rotary_settings(dict(said))}, file).rope_parameters
    heads, shared = config.num_attention_heads, config.num_key_value_heads or config.num_attention_heads
    size = config.head_dim or config.hidden_size // heads
    if heads % shared or size < 2 or size % 2:
        raise ModelError(
            f"{file}: {heads} heads of {size} numbers can't share {shared} key-value heads", hint="copy it again"
        )
    return Shape(
        vocabulary=config.vocab_size,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        inner=config.intermediate_size,
        heads=heads,
        shared=shared,
        size=size,
        epsilon=config.rms_norm_eps,
        rotary=rotary,
        positions=config.max_position_embeddings,
        biased=config.model_type == "qwen2",
        tied=bool(config.tie_word_embeddings),
        ends=frozenset(config.eos_token_id),
        unusual=_unusual(config, rotary),
    )


def _listed(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [] if said is None else [said]


def _unusual(config: _Config, rotary: Rotary) -> str:
    qwen2 = config.model_type == "qwen2"
    obstacles = {
        f"the model's rotary embedding is scaled ({rotary.rope_type})": rotary.rope_type != "default",
        "the model uses a sliding window": qwen2
        and (bool(config.use_sliding_window) or any(kind != "full_attention" for kind in config.layer_types or ())),
        "the model's activation is not SiLU": config.hidden_act not in ("silu", "swish"),
        "the model has biases that its architecture has not": bool(config.attention_bias or config.mlp_bias),
    }
    return next((obstacle for obstacle, stands in obstacles.items() if stands), "")
