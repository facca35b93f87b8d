"""Which requests share a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def by_length(lengths: Sequence[int], slots: int, token_budget: int, new_tokens: int) -> Iterator[list[int]]:
    """Indices of requests in batches of like length, longest first, each at least one request.

    A batch holds at most ``slots`` requests, and its padded prompts with their outputs at most ``token_budget``
    tokens, unless it is one request alone. The longest come first so that memory runs out early or not at all.

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
