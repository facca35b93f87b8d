"""How far a model's confidence was right when the model was evaluated: ``reliability.json`` in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dobby_dagster.inference.models.folder_files import is_file, read_json, validated

RELIABILITY = "reliability.json"
_Share = Annotated[float, Field(ge=0, le=1)]


class ReliabilityBin(BaseModel):
    """Summaries of like confidence.

    Attributes:
        confidence: Their mean confidence.
        agree: The share of them that was right, by the meaning of the calibration.
        count: How many they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: _Share
    agree: _Share
    count: Annotated[int, Field(ge=1)]


class Reliability(BaseModel):
    """The bins, and what they were measured on.

    >>> bins = [{"confidence": 0.2, "agree": 0.1, "count": 30}, {"confidence": 0.9, "agree": 1.0, "count": 10}]
    >>> round(Reliability(measured_on="a test", bins=bins).error, 3)
    0.1
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measured_on: Annotated[str, Field(max_length=300)]
    bins: Annotated[tuple[ReliabilityBin, ...], Field(min_length=1, max_length=100)]

    @property
    def count(self) -> int:
        """Summaries in all bins."""
        return sum(found.count for found in self.bins)

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of confidence and truth, in [0, 1]."""
        return sum(abs(found.confidence - found.agree) * found.count for found in self.bins) / self.count


def reliability_bins(probabilities: Sequence[float], truths: Sequence[bool], bins: int = 10) -> list[ReliabilityBin]:
    """What was said and what was true in each of ``bins`` of equal width that holds anything."""
    given, true = np.asarray(probabilities), np.asarray(truths, dtype=float)
    place = np.minimum((given * bins).astype(int), bins - 1)
    return [
        ReliabilityBin(
            confidence=round(float(given[place == i].mean()), 4),
            agree=round(float(true[place == i].mean()), 4),
            count=int((place == i).sum()),
        )
        for i in sorted(set(place))
    ]


def read_reliability(folder: Path) -> Reliability | None:
    """The reliability of the model in ``folder``; None where it was not measured.

    Raises:
        ModelError: The file is malformed.
    """
    file = folder / RELIABILITY
    return validated(Reliability, read_json(file), file) if is_file(file) else None
