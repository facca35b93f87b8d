"""Whether the confidence of summaries changed with the model or the prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

# The first summaries under a recipe that are compared, and the fewest that say anything.
SAMPLE, FEWEST = 500, 30
# A change is no chance if it is larger than so many standard errors.
STANDARD_ERRORS = 3.0


@dataclass(frozen=True, slots=True)
class Drift:
    """A change of the mean confidence.

    Attributes:
        before, now: The means.
        error: Standard error of their difference (Welch 1947), for samples with unequal variances.
    """

    before: float
    now: float
    error: float

    @property
    def change(self) -> float:
        """Of the mean; negative where the confidence fell."""
        return self.now - self.before


def drift(before: Sequence[float], now: Sequence[float], limit: float) -> Drift | None:
    """The change of the mean, where it is larger than ``limit`` and no chance; else None.

    Args:
        before: Known confidences, in [0, 1]. Fewer than ``FEWEST`` say nothing.
        now: The same of the recipe in use.
        limit: The largest change that is accepted.

    >>> round(drift([0.6, 0.7] * 50, [0.3, 0.4] * 50, limit=0.1).change, 6)
    -0.3
    >>> drift([0.6, 0.7] * 50, [0.6, 0.65] * 50, limit=0.1), drift([0.9] * 5, [0.1] * 5, limit=0.1)
    (None, None)
    """
    if min(len(before), len(now)) < FEWEST:
        return None
    error = math.sqrt(variance(before) / len(before) + variance(now) / len(now))
    found = Drift(fmean(before), fmean(now), error)
    return found if abs(found.change) > max(limit, STANDARD_ERRORS * error) else None
