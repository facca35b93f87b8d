"""Which sequence is prefilled when, and which slot it has."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from dobby_dagster.inference.local.network import Slots
from dobby_dagster.inference.local.sequence import Sequence

# Prompt tokens in one prefill, at most: enough for full speed, few enough to stay in the processor's cache.
PREFILL_TOKENS = 1536
# Prefill waits until 1 / ADMIT_SHARE of the slots are free: fewer prompts at a time would be read more slowly.
ADMIT_SHARE = 8


class Scheduler:
    """Sequences that wait, and those that run: these have the first slots, without gaps, in the order of the list.

    Args:
        sequences: In the order in which they are prefilled.
        slots: Sequences that run at once, at most.
        prefill_limit: Sequences in one prefill, at most; None: no limit but ``PREFILL_TOKENS``.

    >>> from dobby_dagster.inference.engine import Request
    >>> scheduler = Scheduler([Sequence(Request(name, ""), [1, 2]) for name in "abc"], slots=2)
    >>> [sequence.request.id for sequence in scheduler.schedule()]
    ['a', 'b']
    >>> scheduler.schedule(), len(scheduler.waiting)
    ([], 1)
    """

    def __init__(self, sequences: Iterable[Sequence], slots: int, prefill_limit: int | None = None) -> None:
        self.waiting = deque(sequences)
        self.running: list[Sequence] = []
        self._slots = slots
        self._limit = prefill_limit or slots

    @property
    def done(self) -> bool:
        """Whether all sequences are finished."""
        return not self.waiting and not self.running

    def schedule(self) -> list[Sequence]:
        """Sequences to prefill now, with one common prefix, the last ones in ``running`` from now on.

        Empty where the running sequences are to be decoded instead.
        """
        free = self._slots - len(self.running)
        if not self.waiting or (self.running and free < max(1, self._slots // ADMIT_SHARE)):
            return []
        prefix, tokens = self.waiting[0].prefix, 0
        batch: list[Sequence] = []
        while self.waiting and len(batch) < min(free, self._limit):
            sequence = self.waiting[0]
            tokens += len(sequence.prompt_ids) - len(prefix)
            if batch and (tokens > PREFILL_TOKENS or sequence.prefix != prefix):
                break
            batch.append(self.waiting.popleft())
        self.running += batch
        return batch

    def retire(self, slots: Slots) -> Iterator[Sequence]:
        """Take out finished sequences; the last running one moves into the gap, so that no empty slot is computed."""
        for place in reversed(range(len(self.running))):
            sequence = self.running[place]
            if not sequence.finished:
                continue
            if not sequence.finite:
                slots.clear(place)
            last = self.running.pop()
            if last is not sequence:
                slots.move(len(self.running), place, last.cached_tokens)
                self.running[place] = last
            yield sequence
