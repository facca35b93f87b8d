"""Batches and bands: sequences of similar length, which share the device's memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Slots of up to this many tokens in total are shared by all lengths; larger ones by similar lengths only. The default
# model with 128 slots and default lengths has 35,072.
ONE_BAND_TOKENS = 36_864


@dataclass(frozen=True, slots=True)
class Band:
    """Sequences of similar length that share slots of one size.

    Attributes:
        members: Their indices.
        rows: How many of them run at once, at most.
        longest: Their longest prompt, in tokens, which decides the size of a slot.
    """

    members: list[int]
    rows: int
    longest: int


def bands(lengths: Sequence[int], slots: int, token_budget: int, new_tokens: int) -> Iterator[Band]:
    """Prompts of these lengths (in tokens) in as few bands as memory allows, longest first.

    A band's slots, each as large as its longest prompt with its output, hold at most ``token_budget`` tokens, unless
    it is one slot. Where they would hold more than ``ONE_BAND_TOKENS``, or are fewer than ``slots``, the band ends at
    half its longest length, so that one long prompt doesn't enlarge all slots, and short prompts get more of them.

    >>> [band.rows for band in bands([90, 900, 80, 10], slots=8, token_budget=1000, new_tokens=10)]
    [1, 8]
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while order:
        longest = lengths[order[0]]
        rows = max(1, min(slots, token_budget // (longest + new_tokens)))
        whole = rows == slots and rows * (longest + new_tokens) <= ONE_BAND_TOKENS
        least = 0 if whole else longest // 2
        count = sum(1 for index in order if lengths[index] > least or lengths[index] == longest)
        yield Band(order[:count], rows, longest)
        order = order[count:]


def by_length(lengths: Sequence[int], slots: int, token_budget: int, new_tokens: int) -> Iterator[list[int]]:
    """Indices of prompts of these lengths (in tokens) in batches of similar length, longest first.

    A batch holds at most ``slots`` prompts, and these, padded and with their outputs, at most ``token_budget``
    tokens, unless it is a single prompt.

    >>> list(by_length([5, 50, 6, 49], slots=2, token_budget=1000, new_tokens=10))
    [[1, 3], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batch: list[int] = []
    for index in order:
        longest = lengths[batch[0]] if batch else lengths[index]
        if batch and (len(batch) == slots or (len(batch) + 1) * (longest + new_tokens) > token_budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
