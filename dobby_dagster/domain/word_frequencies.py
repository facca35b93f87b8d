"""In how many documents words are, from a sample; and which words of a query are worth looking up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

# Looking up a word costs about 6 µs for each document that has it; this many are about 60 ms.
LOOKED_UP = 10_000
# A word that more documents have says little of any of them.
TOO_COMMON = 20_000
_ENDINGS = ("ings", "ing", "ers", "er", "ed", "es", "e", "s")


@dataclass(frozen=True, slots=True)
class WordFrequencies:
    """How common words are.

    Attributes:
        documents: How many documents there are.
        sampled: How many of them were looked at.
        counts: In how many of those each word is; words of one stem count together.
    """

    documents: int
    sampled: int
    counts: Counter[str]

    @classmethod
    def of(cls, documents: int, sample: Sequence[str]) -> WordFrequencies:
        """The frequencies in ``sample``: the words of some documents, separated by spaces."""
        return cls(documents, len(sample), Counter(word for text in sample for word in set(map(stem, text.split()))))

    def expected(self, word: str) -> float:
        """How many documents probably have ``word``."""
        return self.counts[stem(word)] / self.sampled * self.documents if self.sampled else 0.0

    def is_too_common(self, word: str) -> bool:
        """Whether so many documents have ``word`` that to rank them by it is slow, and says little."""
        return self.expected(word) > TOO_COMMON

    def worth(self, words: Iterable[str]) -> list[str]:
        """Those of ``words`` that are looked up: the rarest, as long as they are in few documents together.

        The rarest is always there, and the first.

        >>> texts = ["get url"] + ["get self"] * 99
        >>> WordFrequencies.of(100_000, texts).worth(["get", "url", "nowhere"])
        ['nowhere', 'url']
        """
        chosen: list[str] = []
        left = float(LOOKED_UP)
        for word in sorted(words, key=self.expected):
            left -= self.expected(word)
            if chosen and left < 0:
                break
            chosen.append(word)
        return chosen


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """``word`` without a usual ending: coarser than the index, which is enough to count.

    >>> [stem(word) for word in ("parses", "parsing", "parser", "parse", "is")]
    ['pars', 'pars', 'pars', 'pars', 'is']
    """
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word
