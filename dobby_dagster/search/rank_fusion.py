"""Reciprocal rank fusion: several rankings become one, without comparing their scores.

Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
SIGIR 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONSTANT = 60
# Of a ranking by vectors, found on projects that are not in the figures of docs/model/search.md; others count once.
WEIGHTS = {"vector": 2.0}
# Who asks for one or two words means them as they are written: an identifier, say.
WEIGHTS_OF_FEW_WORDS = {"vector": 0.5}
FEW_WORDS = 2


@dataclass(frozen=True, slots=True)
class Fused:
    """A key, its score, and the names of the rankings that it is in."""

    key: str
    score: float
    ways: tuple[str, ...]


def weights_for(text: str) -> Mapping[str, float]:
    """How much each ranking counts for a text."""
    return WEIGHTS_OF_FEW_WORDS if len(text.split()) <= FEW_WORDS else WEIGHTS


def fused(rankings: Mapping[str, Sequence[str]], weights: Mapping[str, float] = WEIGHTS) -> list[Fused]:
    """All keys of ``rankings``, the best first; equal scores in the order of the keys.

    The score of a key is the sum of weight / (60 + rank) over the rankings that it is in, whose first rank is 1.

    Args:
        rankings: Keys by the name of the ranking, the best first, each once in a ranking.
        weights: By the name of the ranking; 1 where it is not there.

    >>> [(each.key, each.ways) for each in fused({"text": ["a", "b"], "vector": ["b"]})]
    [('b', ('text', 'vector')), ('a', ('text',))]
    """
    scores: dict[str, float] = {}
    ways: dict[str, tuple[str, ...]] = {}
    for way, keys in rankings.items():
        for rank, key in enumerate(keys, 1):
            scores[key] = scores.get(key, 0.0) + weights.get(way, 1.0) / (CONSTANT + rank)
            ways[key] = (*ways.get(key, ()), way)
    return [Fused(key, scores[key], ways[key]) for key in sorted(scores, key=lambda key: (-scores[key], key))]
