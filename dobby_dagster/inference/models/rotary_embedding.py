"""The rotary embedding's settings, read as transformers reads them (its ``modeling_rope_utils``).

Three forms are around: ``rope_theta`` and ``rope_scaling`` beside each other, ``rope_parameters`` that holds all, and
mixtures of both. ``rope_scaling`` goes before ``rope_parameters``; what neither says, the configuration's own numbers
say.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, model_validator

DEFAULT_THETA = 10_000.0
Positive = Annotated[FiniteFloat, Field(gt=0, le=1e12)]
Factor = Annotated[FiniteFloat, Field(ge=1, le=1e6)]
_NEEDED = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
# Their lengths are those that the model was trained with first.
_STRETCHED = ("yarn", "llama3")


class Rotary(BaseModel):
    """What decides the angles; what is not set is the library's default.

    Kinds whose angles depend on the longest text of a batch (``longrope``) are refused: a summary must not depend on
    what it shares a batch with. ``dynamic`` does so beyond ``max_position_embeddings`` only, where no prompt gets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rope_type: Literal["default", "linear", "dynamic", "yarn", "llama3"] = "default"
    rope_theta: Positive = DEFAULT_THETA
    factor: Factor | None = None
    original_max_position_embeddings: PositiveInt | None = None
    attention_factor: Positive | None = None
    beta_fast: Positive | None = None
    beta_slow: Positive | None = None
    mscale: FiniteFloat | None = None
    mscale_all_dim: FiniteFloat | None = None
    truncate: bool | None = None
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None
    partial_rotary_factor: Literal[1] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Rotary:
        for name in _NEEDED[self.rope_type]:
            if getattr(self, name) is None:
                raise ValueError(f"{self.rope_type} needs {name}")
        return self

    def settings(self) -> dict[str, Any]:
        """All that is set, as transformers 5 keeps it in ``rope_parameters``."""
        return self.model_dump(exclude_none=True, exclude={"partial_rotary_factor"})


def rotary_settings(config: dict[str, Any]) -> dict[str, Any] | Any:
    """What a configuration says of its rotary embedding, in one place; to be validated as :class:`Rotary`.

    >>> rotary_settings({"rope_parameters": {"rope_type": "default"}, "rope_theta": 1e6})
    {'rope_type': 'default', 'rope_theta': 1000000.0}
    """
    said = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(said, dict):
        return said
    merged = {name: value for name, value in said.items() if value is not None}
    merged["rope_type"] = merged.get("rope_type") or merged.get("type") or "default"
    merged.pop("type", None)
    for name in ("rope_theta", "partial_rotary_factor"):
        if config.get(name) is not None:
            merged.setdefault(name, config[name])
    if merged["rope_type"] in _STRETCHED:
        known = config.get("original_max_position_embeddings")
        merged["original_max_position_embeddings"] = (
            known or merged.get("original_max_position_embeddings") or config.get("max_position_embeddings")
        )
    return merged
