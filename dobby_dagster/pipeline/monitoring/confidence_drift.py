"""Whether the confidence in summaries fell with a change of the model or the prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

# So many summaries of each recipe are compared, and the rest of their batch; fewer than the second say nothing.
SAMPLE, FEWEST = 500, 30
# A fall is no chance if it is larger than so many standard errors.
STANDARD_ERRORS = 3.0


@dataclass(frozen=True, slots=True)
class Drift:
    """A fall of the mean confidence, from ``before`` to ``now``."""

    before: float
    now: float


def drift_of_pairs(pairs: Sequence[tuple[float, float]], limit: float) -> Drift | None:
    """The fall of the mean over the same contents, where it is larger than ``limit`` and no chance; else None.

    Args:
        pairs: Of each content, the known confidence before and now, in [0, 1].
        limit: The largest fall that is accepted.

    >>> drift_of_pairs([(0.5, 0.25), (0.75, 0.5)] * 50, limit=0.1)
    Drift(before=0.625, now=0.375)
    """
    if len(pairs) < FEWEST:
        return None
    error = math.sqrt(variance(now - before for before, now in pairs) / len(pairs))
    return _fallen(Drift(fmean(before for before, _ in pairs), fmean(now for _, now in pairs)), error, limit)


def drift_of_samples(before: Sequence[float], now: Sequence[float], limit: float) -> Drift | None:
    """As :func:`drift_of_pairs`, for different contents: samples with unequal variances (Welch 1947).

    >>> drift_of_samples([0.5, 0.75] * 50, [0.25, 0.5] * 50, limit=0.1)
    Drift(before=0.625, now=0.375)
    >>> drift_of_samples([0.5, 0.75] * 50, [0.5, 0.625] * 50, limit=0.1)
    >>> drift_of_samples([0.9] * 5, [0.1] * 5, limit=0.1)
    """
    if min(len(before), len(now)) < FEWEST:
        return None
    error = math.sqrt(variance(before) / len(before) + variance(now) / len(now))
    return _fallen(Drift(fmean(before), fmean(now)), error, limit)


def _fallen(drift: Drift, error: float, limit: float) -> Drift | None:
    return drift if drift.before - drift.now > max(limit, STANDARD_ERRORS * error) else None
