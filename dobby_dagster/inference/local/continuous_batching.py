"""Continuous batching: the slot of a finished sequence goes to the next one, while the others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Generic

from dobby_dagster.domain import heartbeat
from dobby_dagster.inference.local.length_bands import bands
from dobby_dagster.inference.local.network import Network, P, S
from dobby_dagster.inference.local.scheduler import Scheduler
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.token_selection import Selector
from dobby_dagster.inference.slot_use import SlotUse

_PREFIXES_KEPT = 16


class ContinuousGenerator(Generic[S, P]):
    """Runs what the scheduler decides.

    Args:
        network: Passes through the model.
        selector: How tokens are chosen.
        slot_use: Counts the sequences that hold a slot.
        slots: Sequences that run at once, at most.
        token_budget: Tokens in the slots at once, outputs included.
        new_tokens: Longest output.
        longest_prompt: In tokens; decides the shape of the slots where the network is batch-invariant.
    """

    def __init__(
        self,
        network: Network[S, P],
        selector: Selector,
        slot_use: SlotUse,
        slots: int,
        token_budget: int,
        new_tokens: int,
        longest_prompt: int,
    ) -> None:
        self._network = network
        self._selector = selector
        self._slot_use = slot_use
        self._rows = slots
        self._budget = token_budget
        self._new = new_tokens
        self._longest = longest_prompt
        self._slots: S | None = None
        self._prefixes: dict[tuple[int, ...], P] = {}

    def run(self, sequences: list[Sequence]) -> Iterator[Sequence]:
        """Generate; sequences come as they are finished."""
        # In bands of the longest possible prompt where shapes must not depend on the other prompts.
        invariant = self._network.batch_invariant
        lengths = [self._longest if invariant else len(sequence.prompt_ids) for sequence in sequences]
        for band in bands(lengths, self._rows, self._budget, self._new):
            members = [sequences[index] for index in band.members]
            members.sort(key=lambda sequence: (sequence.instruction, -len(sequence.prompt_ids)))
            rows = band.rows if invariant else min(band.rows, len(members))
            scheduler = Scheduler(members, rows, prefill_limit=1 if invariant else None)
            yield from self._run(scheduler, self._slots_for(rows, band.longest + self._new))

    def rest(self) -> None:
        """See :class:`~dobby_dagster.inference.local.generator.Generator`."""
        self._slots = None
        self._prefixes.clear()
        self._network.prefill([[0]], self._network.slots(1, 1), 0)  # a network may refer to the slots of its last pass

    def _run(self, scheduler: Scheduler, slots: S) -> Iterator[Sequence]:
        try:
            while not scheduler.done:
                self._step(scheduler, slots)
                heartbeat.token()
                retired = list(scheduler.retire(slots))
                self._slot_use.change(-len(retired))
                now = time.perf_counter()
                for sequence in retired:
                    sequence.slot_seconds = now - sequence.admitted_at
                yield from retired
        finally:  # after an error, or where the caller stops, sequences are still running
            self._slot_use.change(-len(scheduler.running))

    def _step(self, scheduler: Scheduler, slots: S) -> None:
        """One pass through the model: the prefill of new sequences, or the next token of all that are running."""
        began = time.perf_counter()
        batch = scheduler.schedule()
        if batch:
            self._slot_use.change(len(batch))
            for sequence in batch:
                sequence.admitted_at = began
            self._prefill(batch, slots, len(scheduler.running) - len(batch))
        else:
            batch = list(scheduler.running)
            self._decode(batch, slots)
        share = (time.perf_counter() - began) / len(batch)
        for sequence in batch:
            sequence.seconds += share

    def _prefill(self, batch: list[Sequence], slots: S, first: int) -> None:
        ids = batch[0].prefix
        prefix = self._prefix(ids) if ids else None
        prompts = [sequence.prompt_ids[len(ids) :] for sequence in batch]
        self._selector.advance(self._network.prefill(prompts, slots, first, prefix), batch)

    def _decode(self, batch: list[Sequence], slots: S) -> None:
        tokens = [sequence.output_ids[-1] for sequence in batch]
        positions = [sequence.cached_tokens for sequence in batch]
        self._selector.advance(self._network.decode(tokens, positions, slots), batch)

    def _prefix(self, ids: tuple[int, ...]) -> P:
        if ids not in self._prefixes:
            if len(self._prefixes) == _PREFIXES_KEPT:
                self._prefixes.pop(next(iter(self._prefixes)))
            self._prefixes[ids] = self._network.prefix(ids)
        return self._prefixes[ids]

    def _slots_for(self, rows: int, columns: int) -> S:
        """The slots of the run before, or their memory in this shape, or new ones."""
        kept = self._slots
        if kept is None or not (rows <= kept.rows <= 2 * rows and columns <= kept.columns <= 2 * columns):
            kept = kept and kept.reshaped(rows, columns)
            self._slots = None  # frees the memory before more is taken
            self._slots = kept = kept or self._network.slots(rows, columns)
        return kept
