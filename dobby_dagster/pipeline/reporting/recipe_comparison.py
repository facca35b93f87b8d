"""What two recipes say of the same records."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Pair:
    """The summaries of one record by two recipes, and their confidences; None where one is unknown.

    Attributes:
        overlap: The share of words that they have in common, see :func:`word_overlap`.
    """

    key: str
    first: str
    second: str
    first_confidence: float | None
    second_confidence: float | None
    overlap: float


@dataclass
class Comparison:
    """Two recipes over the records that both have summarised.

    Attributes:
        both: How many records have a summary by both.
        only_first, only_second: How many have one by only one of them.
        identical: How many of ``both`` have the same text twice.
        overlap_mean: Mean of :attr:`Pair.overlap`; None where ``both`` is 0.
        first_confidence, second_confidence: Means over the known ones of ``both``; None where none is known.
        pairs: Those with the least overlap, by overlap and key.
    """

    both: int = 0
    only_first: int = 0
    only_second: int = 0
    identical: int = 0
    overlap_mean: float | None = None
    first_confidence: float | None = None
    second_confidence: float | None = None
    pairs: list[Pair] = field(default_factory=list)


def compare(first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]], limit: int) -> Comparison:
    """Compare two recipes record by record; neither memory nor the pairs kept grow with the number of records.

    Args:
        first: Rows of :meth:`~dobby_dagster.store.ledger.reports.Reports.entries` under one recipe, in key order.
        second: The same under another.
        limit: Pairs to keep.
    """
    found = Comparison()
    overlaps, firsts, seconds = _Mean(), _Mean(), _Mean()

    def pairs() -> Iterator[Pair]:
        for one, other in _aligned(first, second):
            has_one, has_other = one is not None and one["summary"], other is not None and other["summary"]
            found.only_first += bool(has_one and not has_other)
            found.only_second += bool(has_other and not has_one)
            if one is None or other is None or not has_one or not has_other:
                continue
            overlap = word_overlap(one["summary"], other["summary"])
            found.both += 1
            found.identical += one["summary"] == other["summary"]
            overlaps.add(overlap)
            firsts.add(one["confidence"])
            seconds.add(other["confidence"])
            yield Pair(one["key"], one["summary"], other["summary"], one["confidence"], other["confidence"], overlap)

    # With a limit of 0 nsmallest would not read the pairs, and nothing would be counted.
    found.pairs = heapq.nsmallest(max(limit, 1), pairs(), key=lambda pair: (pair.overlap, pair.key))[:limit]
    found.overlap_mean, found.first_confidence, found.second_confidence = overlaps.value, firsts.value, seconds.value
    return found


def word_overlap(one: str, other: str) -> float:
    """The F1 measure of the words of two texts, as bags and in lower case: 1 for the same words, 0 for none in common.

    >>> word_overlap("Return the sum.", "return the sum"), round(word_overlap("Add two numbers", "Add numbers"), 2)
    (1.0, 0.8)
    """
    bags = [Counter(_WORD.findall(text.lower())) for text in (one, other)]
    total = bags[0].total() + bags[1].total()
    return 2 * (bags[0] & bags[1]).total() / total if total else float(one == other)


def _aligned(
    first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Rows of equal keys side by side; None where one side has no such key, as when records change meanwhile."""
    left, right = iter(first), iter(second)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one["key"] < other["key"]):
            yield one, None
            one = next(left, None)
        elif one is None or other["key"] < one["key"]:
            yield None, other
            other = next(right, None)
        else:
            yield one, other
            one, other = next(left, None), next(right, None)


class _Mean:
    """A running mean that leaves unknown values out."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self._sum, self._count = self._sum + value, self._count + 1

    @property
    def value(self) -> float | None:
        return self._sum / self._count if self._count else None
