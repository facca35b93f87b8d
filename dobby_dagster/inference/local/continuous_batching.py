"""Continuous batching: which prompts are read when, and which slot goes to whom."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from dobby_dagster.inference.local.length_bands import bands
from dobby_dagster.inference.local.prompt_encoding import Encoded
from dobby_dagster.inference.local.token_selection import Row, Selector, Written

if TYPE_CHECKING:
    import numpy as np

# Tokens of prompts that are read together, at most: enough for full speed, few enough to stay in the cache.
PREFILL_TOKENS = 1536
# Prompts are read as soon as one slot in so many is free: fewer at a time would be read more slowly.
ADMIT_SHARE = 8
# A common beginning is read once from so many tokens on.
_SHARED_FROM = 16
_PREFIXES_KEPT = 16


class Slots(Protocol):
    """Keys and values of the prompts in the works: ``rows`` slots of ``columns`` tokens."""

    rows: int
    columns: int

    def move(self, source: int, target: int, length: int) -> None:
        """Put the first ``length`` tokens of one slot into another; what it held is lost."""
        ...

    def clear(self, slot: int) -> None:
        """Forget what a slot holds; needed where it may hold what is no number."""
        ...


S = TypeVar("S", bound=Slots)
P = TypeVar("P")


class Network(Protocol[S, P]):
    """A pass through a model. Logits are (rows, vocabulary) in float32, good until the next pass.

    Attributes:
        batch_invariant: Logits depend on the prompt and the shape of the slots alone, not on what else is in them.
    """

    batch_invariant: bool

    def slots(self, rows: int, columns: int) -> S:
        """Empty slots, of at least so many columns."""
        ...

    def prefix(self, ids: Sequence[int]) -> P:
        """Keys and values of tokens that many prompts begin with."""
        ...

    def prefill(self, prompts: Sequence[Sequence[int]], slots: S, first: int, prefix: P | None = None) -> np.ndarray:
        """Read prompts, without the prefix's tokens, into the slots from ``first`` on: logits behind each."""
        ...

    def decode(self, tokens: Sequence[int], positions: Sequence[int], slots: S) -> np.ndarray:
        """One more token for the first slots, each behind the ``positions`` tokens that it holds: logits behind it."""
        ...


@dataclass(slots=True)
class _Slot:
    index: int
    row: Row
    token: int
    length: int
    seconds: float = 0.0
    company: int = 1


class ContinuousGenerator(Generic[S, P]):
    """Writes outputs for prompts; a slot that is free goes to the next prompt at once.

    Args:
        network: A pass through the model.
        selector: How tokens are chosen.
        slots: Prompts in the works at once.
        token_budget: Tokens in the slots at once, outputs included.
        new_tokens: Longest output.
        longest: Longest prompt that will come; decides the shapes where the network is batch-invariant.
    """

    def __init__(
        self, network: Network[S, P], selector: Selector, slots: int, token_budget: int, new_tokens: int, longest: int
    ) -> None:
        self._network = network
        self._selector = selector
        self._rows = slots
        self._budget = token_budget
        self._new = new_tokens
        self._longest = longest
        self._slots: S | None = None
        self._prefixes: dict[tuple[int, ...], P] = {}

    def run(self, prompts: Sequence[Encoded], seeds: Sequence[str]) -> Iterator[Written]:
        """Outputs as they are finished."""
        # Bands by the longest prompt that may come: shapes depend on no company then.
        lengths = [self._longest if self._network.batch_invariant else len(prompt.ids) for prompt in prompts]
        for band in bands(lengths, self._rows, self._budget, self._new):
            order = sorted(band.members, key=lambda i: (prompts[i].ids[: prompts[i].shared], -len(prompts[i].ids)))
            rows = band.rows if self._network.batch_invariant else min(band.rows, len(order))
            slots = self._slots_for(rows, band.longest + self._new)
            yield from self._continuously(deque(order), prompts, seeds, slots, rows)

    def _continuously(
        self, waiting: deque[int], prompts: Sequence[Encoded], seeds: Sequence[str], slots: S, rows: int
    ) -> Iterator[Written]:
        active: list[_Slot] = []
        while waiting or active:
            free, began = rows - len(active), time.perf_counter()
            if waiting and (not active or free >= max(1, rows // ADMIT_SHARE)):
                served = self._admit(waiting, prompts, seeds, slots, len(active), free)
                active += served
            else:
                served = active
                self._step(active, slots)
            share = (time.perf_counter() - began) / len(served)
            for slot in served:
                slot.seconds += share
                slot.company = max(slot.company, len(active))
            yield from list(_retire(active, slots))

    def _admit(
        self,
        waiting: deque[int],
        prompts: Sequence[Encoded],
        seeds: Sequence[str],
        slots: S,
        first: int,
        free: int,
    ) -> list[_Slot]:
        """Read the next prompts that begin alike."""
        shared = self._shared(prompts[waiting[0]])
        chosen: list[int] = []
        tokens = 0
        while waiting and len(chosen) < (1 if self._network.batch_invariant else free):
            prompt = prompts[waiting[0]]
            tokens += len(prompt.ids) - len(shared)
            if chosen and (tokens > PREFILL_TOKENS or self._shared(prompt) != shared):
                break
            chosen.append(waiting.popleft())
        prefix = self._prefix(shared) if shared else None
        logits = self._network.prefill([prompts[i].ids[len(shared) :] for i in chosen], slots, first, prefix)
        rows = [self._selector.row(seeds[i]) for i in chosen]
        written = self._selector.advance(logits, rows)
        return [
            _Slot(index, row, token, len(prompts[index].ids))
            for index, row, token in zip(chosen, rows, written, strict=True)
        ]

    def _step(self, active: list[_Slot], slots: S) -> None:
        tokens, positions = [slot.token for slot in active], [slot.length for slot in active]
        written = self._selector.advance(self._network.decode(tokens, positions, slots), [slot.row for slot in active])
        for slot, token in zip(active, written, strict=True):
            slot.token = token
            slot.length += 1

    @staticmethod
    def _shared(prompt: Encoded) -> tuple[int, ...]:
        common = min(prompt.shared, len(prompt.ids) - 1)
        return tuple(prompt.ids[:common]) if common >= _SHARED_FROM else ()

    def _prefix(self, ids: tuple[int, ...]) -> P:
        if ids not in self._prefixes:
            if len(self._prefixes) == _PREFIXES_KEPT:
                self._prefixes.pop(next(iter(self._prefixes)))
            self._prefixes[ids] = self._network.prefix(ids)
        return self._prefixes[ids]

    def _slots_for(self, rows: int, columns: int) -> S:
        """The slots of before where they are large enough and not much too large."""
        kept = self._slots
        if kept is None or not (rows <= kept.rows <= 2 * rows and columns <= kept.columns <= 2 * columns):
            self._slots = kept = None  # the memory is free before more is taken
            self._slots = kept = self._network.slots(rows, columns)
        return kept


def _retire(active: list[_Slot], slots: Slots) -> Iterator[Written]:
    """Take out the rows that have ended; the last ones move into their slots, so that no hole is computed."""
    for place in reversed(range(len(active))):
        slot = active[place]
        if not slot.row.output.ended:
            continue
        if not slot.row.output.finite:
            slots.clear(place)
        last = active.pop()
        if last is not slot:
            slots.move(len(active), place, last.length)
            active[place] = last
        yield Written(slot.index, slot.row.output, slot.seconds, slot.company)
