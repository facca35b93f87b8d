"""The angles of the rotary embedding (Su et al. 2021), for each way in which it is scaled to longer contexts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dobby_dagster.inference.models.rotary_embedding import Rotary


def rotary_frequencies(rotary: Rotary, head_dim: int) -> tuple[np.ndarray, float]:
    """What is multiplied by a token's position to get its angles, and by what rotated numbers are multiplied then.

    Args:
        rotary: The model's parameters; ``dynamic`` is unscaled, since no prompt exceeds the model's positions.
        head_dim: Numbers of a head.

    Returns:
        Radians per position, (head_dim / 2) float64, and the factor.

    >>> rotary_frequencies(Rotary(rope_type="linear", factor=2.0), 4)
    (array([0.5  , 0.005]), 1.0)
    """
    plain: np.ndarray = rotary.rope_theta ** (-np.arange(0, head_dim, 2) / head_dim)
    given = rotary.settings()
    if rotary.rope_type == "linear":
        return plain / given["factor"], 1.0
    if rotary.rope_type == "llama3":
        return plain * _llama3(given, plain), 1.0
    if rotary.rope_type == "yarn":
        return plain * _yarn(given, len(plain)), _yarn_factor(given)
    return plain, 1.0


def _llama3(given: Mapping[str, Any], plain: np.ndarray) -> np.ndarray:
    """Scales of frequencies: long wavelengths are stretched by the factor, short ones are not (Llama 3.1)."""
    low, high = given["low_freq_factor"], given["high_freq_factor"]
    turns = given["original_max_position_embeddings"] * plain / (2 * math.pi)
    kept: np.ndarray = np.clip((turns - low) / (high - low), 0, 1)
    scales: np.ndarray = kept + (1 - kept) / given["factor"]
    return scales


def _yarn(given: Mapping[str, Any], count: int) -> np.ndarray:
    """Scales of ``count`` frequencies, by a ramp over their places in a head (Peng et al. 2023)."""

    def place(turns: float) -> float:
        """Where a number turns so often within the original context."""
        context = given["original_max_position_embeddings"] / (2 * math.pi * turns)
        return count * math.log(context) / math.log(given["rope_theta"])

    low, high = place(given.get("beta_fast", 32)), place(given.get("beta_slow", 1))
    if given.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * count - 1)
    stretched: np.ndarray = np.clip((np.arange(count) - low) / ((high - low) or 0.001), 0, 1)
    scales: np.ndarray = 1 - stretched + stretched / given["factor"]
    return scales


def _yarn_factor(given: Mapping[str, Any]) -> float:
    """Of the attention: as set, else by the logarithm of the factor."""

    def scale(times: float) -> float:
        return 0.1 * times * math.log(given["factor"]) + 1.0

    if "attention_factor" in given:
        return float(given["attention_factor"])
    above, below = given.get("mscale"), given.get("mscale_all_dim")
    return scale(above) / scale(below) if above and below else scale(1.0)
