"""Scores of a summary against its author's sentence, and intervals."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence

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
