"""Which layers a model can do without (Men et al. 2024, "ShortGPT", arXiv:2403.03853).

Of the layers that change their input least, the one is dropped without which the loss on held-out examples is least;
then the influence of the others is measured again, until as few are left as are wanted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

CANDIDATES = 6


def influence(states: Sequence[torch.Tensor]) -> list[float]:
    """1 - cosine of what comes into each layer and what goes out of it (section 3 of the paper).

    Args:
        states: (tokens, hidden) each: what comes into the first layer, and what goes out of every one.
    """
    wide = [state.float() for state in states]
    return [float(1 - functional.cosine_similarity(a, b, dim=-1).mean()) for a, b in itertools.pairwise(wide)]


def least_needed(influences: Sequence[float], loss_without: Callable[[int], float]) -> tuple[int, float]:
    """The layer to drop, and the loss on held-out examples without it.

    >>> least_needed([0.9, 0.1, 0.2], loss_without=[3.0, 2.5, 2.2].__getitem__)
    (2, 2.2)
    """
    candidates = sorted(range(len(influences)), key=influences.__getitem__)[:CANDIDATES]
    losses = {index: loss_without(index) for index in candidates}
    least = min(losses, key=losses.__getitem__)
    return least, losses[least]
