"""Continuous batching: which prompts are read when, and which slot goes to whom."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from dobby_dagster.inference.batching import bands
from dobby_dagster.inference.encoding import Encoded
from dobby_dagster.inference.packed.cache import SlotCache
from dobby_dagster.inference.packed.network import Network, Prefix
from dobby_dagster.inference.selection import Row, Selector, Written

# Tokens of prompts that are read together, at most: enough for full speed, few enough to stay in the cache.
PREFILL_TOKENS = 1536
# Prompts are read as soon as one slot in so many is free: fewer at a time would be read more slowly.
ADMIT_SHARE = 4
# A common beginning is read once from so many tokens on.
_SHARED_FROM = 16
_PREFIXES_KEPT = 16


@dataclass(slots=True)
class _Slot:
    index: int
    row: Row
    token: int
    length: int
    seconds: float = 0.0
    company: int = 1


class PackedGenerator:
    """Writes outputs for prompts; a slot that is free goes to the next prompt at once.

    Args:
        network: The model.
        selector: How tokens are chosen.
        slots: Prompts in the works at once.
        token_budget: Tokens in the slots at once, outputs included.
        new_tokens: Longest output.
        longest: Longest prompt that will come; decides the shapes of a network that is ``fixed``.
    """

    def __init__(
        self, network: Network, selector: Selector, slots: int, token_budget: int, new_tokens: int, longest: int
    ) -> None:
        self._network = network
        self._selector = selector
        self._slots = slots
        self._budget = token_budget
        self._new = new_tokens
        self._longest = longest
        self._cache: SlotCache | None = None
        self._prefixes: dict[tuple[int, ...], Prefix] = {}

    def run(self, prompts: Sequence[Encoded], seeds: Sequence[str]) -> Iterator[Written]:
        """Outputs as they are finished."""
        # Bands by the longest prompt that may come: shapes depend on no company then.
        lengths = [self._longest if self._network.fixed else len(prompt.ids) for prompt in prompts]
        for band in bands(lengths, self._slots, self._budget, self._new):
            order = sorted(band.members, key=lambda i: (prompts[i].ids[: prompts[i].shared], -len(prompts[i].ids)))
            rows = band.rows if self._network.fixed else min(band.rows, len(order))
            cache = self._cache_for(rows, band.longest + self._new)
            yield from self._continuously(deque(order), prompts, seeds, cache, rows)

    def _continuously(
        self, waiting: deque[int], prompts: Sequence[Encoded], seeds: Sequence[str], cache: SlotCache, rows: int
    ) -> Iterator[Written]:
        active: list[_Slot] = []
        while waiting or active:
            with torch.inference_mode():
                free, began = rows - len(active), time.perf_counter()
                if waiting and (not active or free >= max(1, rows // ADMIT_SHARE)):
                    served = self._admit(waiting, prompts, seeds, cache, len(active), free)
                    active += served
                else:
                    served = active
                    self._step(active, cache)
                share = (time.perf_counter() - began) / len(served)
                for slot in served:
                    slot.seconds += share
                    slot.company = max(slot.company, len(active))
                ended = list(_retire(active, cache))
            yield from ended

    def _admit(
        self,
        waiting: deque[int],
        prompts: Sequence[Encoded],
        seeds: Sequence[str],
        cache: SlotCache,
        first: int,
        free: int,
    ) -> list[_Slot]:
        """Read the next prompts that begin alike."""
        shared = self._shared(prompts[waiting[0]])
        chosen: list[int] = []
        tokens = 0
        while waiting and len(chosen) < (1 if self._network.fixed else free):
            prompt = prompts[waiting[0]]
            tokens += len(prompt.ids) - len(shared)
            if chosen and (tokens > PREFILL_TOKENS or self._shared(prompt) != shared):
                break
            chosen.append(waiting.popleft())
        prefix = self._prefix(shared) if shared else None
        logits = self._network.prefill([prompts[i].ids[len(shared) :] for i in chosen], cache, first, prefix)
        rows = [self._selector.row(seeds[i]) for i in chosen]
        written = self._selector.advance(logits, rows)
        return [
            _Slot(index, row, token, len(prompts[index].ids))
            for index, row, token in zip(chosen, rows, written, strict=True)
        ]

    def _step(self, active: list[_Slot], cache: SlotCache) -> None:
        tokens = torch.tensor([slot.token for slot in active])
        positions = torch.tensor([slot.length for slot in active])
        written = self._selector.advance(self._network.decode(tokens, positions, cache), [slot.row for slot in active])
        for slot, token in zip(active, written, strict=True):
            slot.token = token
            slot.length += 1

    @staticmethod
    def _shared(prompt: Encoded) -> tuple[int, ...]:
        common = min(prompt.shared, len(prompt.ids) - 1)
        return tuple(prompt.ids[:common]) if common >= _SHARED_FROM else ()

    def _prefix(self, ids: tuple[int, ...]) -> Prefix:
        if ids not in self._prefixes:
            if len(self._prefixes) == _PREFIXES_KEPT:
                self._prefixes.pop(next(iter(self._prefixes)))
            self._prefixes[ids] = self._network.prefix(ids)
        return self._prefixes[ids]

    def _cache_for(self, rows: int, columns: int) -> SlotCache:
        """The cache of before where it is large enough and not much too large."""
        kept = self._cache
        if kept is None or not (rows <= kept.rows <= 2 * rows and columns <= kept.columns <= 2 * columns):
            self._cache = None
            self._cache = SlotCache(self._network.shape, rows, columns, self._network.dtype)
        return self._cache  # type: ignore[return-value]


def _retire(active: list[_Slot], cache: SlotCache) -> Iterator[Written]:
    """Take out the rows that have ended; the last ones move into their slots, so that no hole is computed."""
    for place in reversed(range(len(active))):
        slot = active[place]
        if not slot.row.output.ended:
            continue
        if not slot.row.output.finite:
            cache.clear(place)
        last = active.pop()
        if last is not slot:
            cache.move(len(active), place, last.length)
            active[place] = last
        yield Written(slot.index, slot.row.output, slot.seconds, slot.company)
