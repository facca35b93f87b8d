"""Which requests share the device's memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Slots of so many tokens together are made for requests of all lengths; larger ones for those of like length only.
ONE_BAND_TOKENS = 32_768


@dataclass(frozen=True, slots=True)
class Band:
    """Requests of like length that share at most ``rows`` slots of their ``longest`` prompt's size."""

    members: list[int]
    rows: int
    longest: int


def bands(lengths: Sequence[int], slots: int, token_budget: int, new_tokens: int) -> Iterator[Band]:
    """Requests in as few bands as memory calls for, longest first.

    The slots of a band, each as large as its longest prompt with its output, hold at most ``token_budget`` tokens,
    unless it is one slot. Where they would hold more than a fixed number, or are fewer than ``slots``, a band ends at
    half its longest length: one long content does not make all slots large, and short ones get more of them.

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
    """Indices of requests in batches of like length, longest first, each at least one request.

    A batch holds at most ``slots`` requests, and its padded prompts with their outputs at most ``token_budget``
    tokens, unless it is one request alone.

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
