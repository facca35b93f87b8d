"""How often each pair comes in an epoch: languages and projects are balanced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from training.corpus.pair import Pair
from training.packing import repeats

# A project of n pairs counts as n ** 0.6. Otherwise a few large projects are most of an epoch and are learned by heart.
PROJECT_EXPONENT = 0.6
MOST = 2.0
# Most records are Python, and with a pretrained model C needs less emphasis than `repeats` gives it.
EMPHASIS = {"c": 0.6, "python": 1.35}
_STEPS = 60


def balanced(pairs: Sequence[Pair]) -> np.ndarray:
    """How often each pair comes in an epoch: once on average, and at most ``MOST`` times.

    A pair's weight is that of its language (:func:`training.packing.repeats`, and ``EMPHASIS``) times that of its
    project, which falls with the project's size.
    """
    languages = {language: times * EMPHASIS.get(language, 1.0) for language, times in repeats(pairs).items()}
    sizes = Counter(pair.project for pair in pairs)
    weights = np.array([languages[pair.language] * sizes[pair.project] ** (PROJECT_EXPONENT - 1) for pair in pairs])
    low, high = 0.0, MOST / float(weights.min())
    for _ in range(_STEPS):
        scale = (low + high) / 2
        low, high = (low, scale) if np.minimum(MOST, weights * scale).mean() > 1 else (scale, high)
    return np.minimum(MOST, weights * high)
