"""Parameters of the rotary embedding, read as transformers reads them (its ``modeling_rope_utils``).

They are stored in three forms: as ``rope_theta`` and ``rope_scaling``, in ``rope_parameters``, or in a mixture of both.
``rope_scaling`` takes precedence over ``rope_parameters``, and both over fields of the configuration itself.
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
# Types that need the original context length.
_STRETCHED = ("yarn", "llama3")


class Rotary(BaseModel):
    """The parameters that decide the angles; unset ones have transformers' defaults.

    ``longrope`` is refused, since its angles depend on the longest text of a batch, and a summary must not. Those of
    ``dynamic`` do so only beyond ``max_position_embeddings``, which no prompt exceeds.
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
        """The set parameters, as ``rope_parameters`` of transformers 5."""
        return self.model_dump(exclude_none=True, exclude={"partial_rotary_factor"})


def rotary_settings(config: dict[str, Any]) -> dict[str, Any] | Any:
    """The parameters in a configuration, merged from all three forms; to be validated as :class:`Rotary`.

    >>> rotary_settings({"rope_parameters": {"rope_type": "default"}, "rope_theta": 1e6})
    {'rope_type': 'default', 'rope_theta': 1000000.0}
    """
    stored = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(stored, dict):
        return stored
    merged = {name: value for name, value in stored.items() if value is not None}
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
