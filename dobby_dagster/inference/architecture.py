"""The numbers of a checkpoint's architecture, and whether Dobby's own passes through a model can compute it."""

from __future__ import annotations

from dataclasses import dataclass

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.model_folder import ModelFolder


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes, heads, and the angles of the rotary embedding.

    Attributes:
        heads, shared: Query heads, and the key-value heads that they share.
        size: Of a head.
        biased: Whether the projections to queries, keys and values have biases.
    """

    vocabulary: int
    layers: int
    hidden: int
    inner: int
    heads: int
    shared: int
    size: int
    epsilon: float
    theta: float
    positions: int
    biased: bool

    @property
    def group(self) -> int:
        """Query heads that share a key-value head."""
        return self.heads // self.shared


def shape_of(folder: ModelFolder) -> Shape:
    """What the configuration says.

    Raises:
        ModelError: It is malformed.
    """
    config = folder.config
    try:
        heads = int(config["num_attention_heads"])
        return Shape(
            vocabulary=int(config["vocab_size"]),
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            inner=int(config["intermediate_size"]),
            heads=heads,
            shared=int(config.get("num_key_value_heads") or heads),
            size=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            epsilon=float(config["rms_norm_eps"]),
            theta=float((config.get("rope_parameters") or config).get("rope_theta") or 10_000.0),
            positions=int(config["max_position_embeddings"]),
            biased=config["model_type"] == "qwen2",
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{folder.path}/config.json is malformed: {error!r}", hint="copy it again") from None


def unusual(folder: ModelFolder) -> str:
    """What the model has that only transformers computes; ``""`` where there is nothing."""
    config = folder.config
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    obstacles = {
        f"the model's rotary embedding is scaled ({kind})": kind != "default",
        "the model uses a sliding window": bool(config.get("use_sliding_window")),
        "the model's activation is not SiLU": config.get("hidden_act", "silu") != "silu",
        "the model has biases that its architecture has not": bool(
            config.get("attention_bias") or config.get("mlp_bias")
        ),
    }
    return next((obstacle for obstacle, stands in obstacles.items() if stands), "")
