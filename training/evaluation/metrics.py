"""Further scores of summaries: METEOR, retrieval, and the calibration error; see also :mod:`dobby_dagster.inference.scoring.text_overlap`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dobby_dagster.inference.models.reliability import Reliability, reliability_bins


def meteor(reference: str, candidate: str) -> float:
    """METEOR in [0, 1] (Banerjee and Lavie 2005) by equal words only, without stems and synonyms.

    The harmonic mean of precision and recall, recall nine times as important, less a penalty for words in another order:
    half the cube of the share of chunks, which are runs of matched words that are adjacent in both.

    >>> round(meteor("reads a file", "reads a file"), 3), meteor("reads a file", "writes data")
    (0.981, 0.0)
    """
    wanted, given = (re.findall(r"\w+", text.lower()) for text in (reference, candidate))
    free: dict[str, list[int]] = {}
    for place, word in enumerate(wanted):
        free.setdefault(word, []).append(place)
    matched: list[tuple[int, int]] = []
    for place, word in enumerate(given):
        if places := free.get(word):
            after = matched[-1][1] + 1 if matched else 0
            chosen = after if after in places else places[0]  # goes on with a chunk where it can
            places.remove(chosen)
            matched.append((place, chosen))
    if not matched:
        return 0.0
    precision, recall = len(matched) / len(given), len(matched) / len(wanted)
    joined = sum(b == (a[0] + 1, a[1] + 1) for a, b in pairwise(matched))
    penalty = 0.5 * ((len(matched) - joined) / len(matched)) ** 3
    return 10 * precision * recall / (recall + 9 * precision) * (1 - penalty)


def reciprocal_ranks(similarities: np.ndarray) -> np.ndarray:
    """For each query 1 / rank of its own document, of equals the last.

    Args:
        similarities: (queries, documents); the document of a query has its index.

    >>> reciprocal_ranks(np.array([[0.9, 0.1], [0.8, 0.3]])).tolist()
    [1.0, 0.5]
    """
    own = similarities.diagonal()[:, None]
    return np.asarray(1 / (similarities >= own).sum(1))


def calibration_error(probabilities: Sequence[float], truths: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015) over ``bins`` of equal width."""
    return Reliability(measured_on="", bins=tuple(reliability_bins(probabilities, truths, bins))).error
