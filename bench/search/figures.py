"""Recall and mean reciprocal rank of rankings in which one key is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

DEPTHS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the answers to many questions.

    Attributes:
        recalls: By depth, the share of questions whose right key is among the first so many.
        reciprocal_rank: The mean of 1 / rank of the right key; 0 where it was not found.
    """

    recalls: Mapping[int, float]
    reciprocal_rank: float


def figures(rankings: Sequence[Sequence[str]], right: Sequence[str]) -> Figures:
    """The figures of rankings, the best key first, each with its one right key.

    >>> figures([["a", "b"], ["a", "b"], []], ["a", "b", "c"]).recalls[1]
    0.3333333333333333
    >>> figures([["a", "b"], ["a", "b"], []], ["a", "b", "c"]).reciprocal_rank
    0.5
    """
    ranks = [ranking.index(key) + 1 if key in ranking else None for ranking, key in zip(rankings, right, strict=True)]
    return Figures(
        {depth: fmean(rank is not None and rank <= depth for rank in ranks) for depth in DEPTHS},
        fmean(0.0 if rank is None else 1 / rank for rank in ranks),
    )
