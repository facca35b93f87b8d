"""Scores of a summary against its author's sentence, and intervals."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import LCSseq

from dobby_dagster.inference.models.reliability import Reliability, ReliabilityBin

ROUNDS = 1_000


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks."""
    return re.findall(r"\w+|[^\s\w]", text.lower())


def smoothed_bleu(reference: str, candidate: str) -> float:
    """Smoothed sentence BLEU-4 in [0, 1], as CodeXGLUE's code-to-text evaluator has it.

    One is added to the matches and the totals of 2- to 4-grams (Lin and Och 2004), and to both lengths.
    """
    wanted, given = words(reference), words(candidate)
    total = 0.0
    for n in range(1, 5):
        expected = Counter(tuple(wanted[i : i + n]) for i in range(len(wanted) - n + 1))
        found = Counter(tuple(given[i : i + n]) for i in range(len(given) - n + 1))
        matches, guesses = sum((expected & found).values()), sum(found.values())
        smooth = 1 if n > 1 else 0
        tiny = sys.float_info.min
        total += math.log(matches + smooth + tiny) - math.log(guesses + smooth + tiny)
    return math.exp(total / 4 + min(0.0, 1 - (len(wanted) + 1) / (len(given) + 1)))


def rouge_l(reference: str, candidate: str) -> float:
    """ROUGE-L F1 in [0, 1] (Lin 2004): the longest common subsequence of words, without punctuation."""
    wanted, given = (re.findall(r"\w+", text.lower()) for text in (reference, candidate))
    common = LCSseq.similarity(wanted, given)
    return 2 * common / (len(wanted) + len(given)) if common else 0.0


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


def chrf(reference: str, candidate: str) -> float:
    """chrF2 in [0, 1] (Popović 2015): the F-score of character n-grams up to six, spaces left out, recall twice as important.

    >>> chrf("reads a file", "reads a file"), chrf("abc", "xyz")
    (1.0, 0.0)
    """
    wanted, given = ("".join(text.split()) for text in (reference, candidate))
    precisions, recalls = [], []
    for n in range(1, 7):
        expected = Counter(wanted[i : i + n] for i in range(len(wanted) - n + 1))
        found = Counter(given[i : i + n] for i in range(len(given) - n + 1))
        if expected and found:
            common = (expected & found).total()
            precisions.append(common / found.total())
            recalls.append(common / expected.total())
    if not precisions:
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0


def reciprocal_ranks(similarities: np.ndarray) -> np.ndarray:
    """For each query 1 / rank of its own document, of equals the last.

    Args:
        similarities: (queries, documents); the document of a query has its index.

    >>> reciprocal_ranks(np.array([[0.9, 0.1], [0.8, 0.3]])).tolist()
    [1.0, 0.5]
    """
    own = similarities.diagonal()[:, None]
    return np.asarray(1 / (similarities >= own).sum(1))


def interval(scores: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over records."""
    values = np.asarray(scores, dtype=float)
    rng = np.random.default_rng(0)
    means = np.sort([values[rng.integers(0, len(values), len(values))].mean() for _ in range(ROUNDS)])
    return float(values.mean()), float(means[round(ROUNDS * 0.025)]), float(means[round(ROUNDS * 0.975) - 1])


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


def calibration_error(probabilities: Sequence[float], truths: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015) over ``bins`` of equal width."""
    return Reliability(measured_on="", bins=tuple(reliability_bins(probabilities, truths, bins))).error
