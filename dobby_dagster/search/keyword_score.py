"""Candidates of the full-text index in the order of BM25, which the index itself does not know.

The index ranks a document by its best word. BM25 adds up the words of the question that a document has, counts a rare
word for more, and a word in a long document for less (Robertson and Zaragoza, "The probabilistic relevance framework",
2009).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from dobby_dagster.domain.word_frequencies import WordFrequencies, stem

SATURATION, LENGTH = 1.2, 0.5


def rescored(words: Sequence[str], documents: Mapping[str, str], frequencies: WordFrequencies) -> list[str]:
    """The keys of ``documents``, the best first; equal ones in the order that they have.

    Args:
        words: Of the question.
        documents: The words of each candidate, with a space between, by key.
        frequencies: Of words in all documents; no fewer than in the candidates are assumed.

    >>> texts = {"a": "parse parse parse number", "b": "parsing of urls", "c": "parse number"}
    >>> rescored(["parse", "url"], texts, WordFrequencies.of(3, list(texts.values())))
    ['b', 'a', 'c']
    """
    asked = list(dict.fromkeys(map(stem, words)))
    counts = {key: Counter(map(stem, text.split())) for key, text in documents.items()}
    total = max(frequencies.documents, len(counts))
    having = {w: max(sum(w in count for count in counts.values()), frequencies.expected(w)) for w in asked}
    rarity = {word: math.log1p((total - n + 0.5) / (n + 0.5)) for word, n in having.items()}
    lengths = {key: count.total() for key, count in counts.items()}
    mean = sum(lengths.values()) / max(1, len(lengths)) or 1.0

    def score(key: str) -> float:
        count, norm = counts[key], SATURATION * (1 - LENGTH + LENGTH * lengths[key] / mean)
        return sum(rarity[w] * count[w] * (SATURATION + 1) / (count[w] + norm) for w in asked if count[w])

    return sorted(documents, key=score, reverse=True)
