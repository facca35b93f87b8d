"""``config.json``: the numbers that decide what a model computes, under the names that the field uses for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, NonNegativeInt, model_validator

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.engine_features import Feature
from dobby_dagster.inference.models.folder_files import validated
from dobby_dagster.inference.models.rotary_embedding import Rotary, rotary_settings

ARCHITECTURES = {"qwen2": "Qwen2", "llama": "Llama"}
# Far beyond any model that runs here; allocations are bounded by the files, whose tensors must have these sizes.
Count = Annotated[int, Field(ge=1, le=10_000)]
Width = Annotated[int, Field(ge=1, le=10_000_000)]
# One token identifier, several or none, as a list.
TokenIds = Annotated[list[int], BeforeValidator(lambda value: _as_list(value))]
# Fields in which null means the default.
_NULLABLE = {
    "num_key_value_heads", "head_dim", "tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window",
}  # fmt: skip


class ModelConfig(BaseModel):
    """The validated fields of ``config.json`` (Hugging Face's layout); unknown fields are ignored.

    Attributes:
        num_heads: Query heads of each layer.
        num_kv_heads: Key-value heads of each layer; ``num_heads`` is a multiple of it (grouped-query attention).
        head_dim: Numbers of a query, key or value of one head; even, since rotary embeddings turn pairs.
        rms_norm_eps: Added to the mean square inside the norms.
        max_position_embeddings: Longest prompt with its output, in tokens.
        tie_word_embeddings: Whether the output head shares the embedding's matrix, as the configuration says.
        eos_token_id: Tokens that end an output.
        rotary: Parameters of the rotary embedding, whichever fields they are stored in.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model_type: Literal["qwen2", "llama"]
    vocab_size: Width
    num_layers: Count = Field(alias="num_hidden_layers")
    hidden_size: Width
    intermediate_size: Width
    num_heads: Count = Field(alias="num_attention_heads")
    num_kv_heads: Count = Field(alias="num_key_value_heads")
    head_dim: Width
    rms_norm_eps: Annotated[FiniteFloat, Field(ge=0, le=1)]
    max_position_embeddings: Annotated[int, Field(ge=1, le=1_000_000_000)]
    tie_word_embeddings: bool = False
    hidden_act: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False
    use_sliding_window: bool = False
    sliding_window: NonNegativeInt | None = None
    layer_types: list[str] | None = None
    eos_token_id: TokenIds = []
    rotary: Rotary = Field(alias="rope_parameters")

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in what follows from other fields; wrong types stay, for the fields' own validation to name."""
        known = {name: value for name, value in fields.items() if value is not None or name not in _NULLABLE}
        heads, hidden = known.get("num_attention_heads"), known.get("hidden_size")
        if isinstance(heads, int) and isinstance(hidden, int) and heads > 0:
            known = {"num_key_value_heads": heads, "head_dim": hidden // heads} | known
        return known | {"rope_parameters": rotary_settings(dict(fields))}

    @property
    def architecture(self) -> str:
        """``Qwen2`` or ``Llama``."""
        return ARCHITECTURES[self.model_type]

    @property
    def qkv_bias(self) -> bool:
        """Whether the projections to queries, keys and values have biases."""
        return self.model_type == "qwen2"

    @property
    def group_size(self) -> int:
        """Query heads that share a key-value head."""
        return self.num_heads // self.num_kv_heads

    @property
    def special_features(self) -> dict[Feature, str]:
        """What an engine has to support for this model beyond its architecture, each as a reason for people."""
        sliding = self.use_sliding_window or any(kind != "full_attention" for kind in self.layer_types or ())
        uses = {
            Feature.SCALED_ROTARY: self.rotary.rope_type != "default",
            Feature.SLIDING_WINDOW: self.model_type == "qwen2" and sliding,
            Feature.OTHER_ACTIVATIONS: self.hidden_act not in ("silu", "swish"),
            Feature.EXTRA_BIASES: self.attention_bias or self.mlp_bias,
        }
        reasons = {
            Feature.SCALED_ROTARY: f"the model's rotary embedding is scaled ({self.rotary.rope_type})",
            Feature.SLIDING_WINDOW: "the model uses a sliding window",
            Feature.OTHER_ACTIVATIONS: "the model's activation is not SiLU",
            Feature.EXTRA_BIASES: "the model has biases that its architecture does not have",
        }
        return {feature: reasons[feature] for feature, applies in uses.items() if applies}


def parse_config(fields: Mapping[str, Any], file: Path) -> ModelConfig:
    """Validate a configuration in the layout of ``config.json``; ``file`` is named in errors.

    Raises:
        ModelError: The architecture is not supported, or a field is missing or out of range.

    >>> config = parse_config(
    ...     dict(model_type="llama", vocab_size=32, num_hidden_layers=2, hidden_size=64, intermediate_size=128,
    ...          num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6, max_position_embeddings=512),
    ...     Path("config.json"))
    >>> config.num_layers, config.head_dim, config.group_size, config.rotary.rope_theta
    (2, 16, 2, 10000.0)
    """
    if fields.get("model_type") not in list(ARCHITECTURES):
        raise ModelError(
            f"{file}: architecture {fields.get('model_type')!r} is not supported",
            hint=f"supported: {', '.join(ARCHITECTURES.values())}",
        )
    config = validated(ModelConfig, fields, file)
    heads, kv_heads, head_dim = config.num_heads, config.num_kv_heads, config.head_dim
    if heads % kv_heads or head_dim < 2 or head_dim % 2:
        raise ModelError(
            f"{file}: {heads} heads of {head_dim} numbers can't share {kv_heads} key-value heads", hint="copy it again"
        )
    return config


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
