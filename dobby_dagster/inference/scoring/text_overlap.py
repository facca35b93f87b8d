"""How far a summary agrees with its author's sentence, and intervals."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

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
    """ROUGE-L F1 in [0, 1] (Lin 2004): the longest common subsequence of words, without punctuation.

    >>> rouge_l("reads a file", "reads one file")
    0.6666666666666666
    """
    wanted, given = (re.findall(r"\w+", text.lower()) for text in (reference, candidate))
    common = _longest_common_subsequence(wanted, given)
    return 2 * common / (len(wanted) + len(given)) if common else 0.0


def _longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Its length, by operations on the bits of one number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & full
    return len(one) - row.bit_count()


def chrf(reference: str, candidate: str) -> float:
    """chrF2 in [0, 1] (Popović 2015): the F-score of character n-grams up to six, recall twice as important.

    Spaces are left out.

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


def interval(scores: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over records."""
    values = np.asarray(scores, dtype=float)
    rng = np.random.default_rng(0)
    means = np.sort([values[rng.integers(0, len(values), len(values))].mean() for _ in range(ROUNDS)])
    return float(values.mean()), float(means[round(ROUNDS * 0.025)]), float(means[round(ROUNDS * 0.975) - 1])
