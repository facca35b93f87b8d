"""Generation on any device by transformers' own model: batches padded on the left, sequences dropped as they finish."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from dobby_dagster.domain import heartbeat
from dobby_dagster.inference.local.length_bands import by_length
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.token_selection import Selector
from dobby_dagster.inference.slot_use import SlotUse

# Prompts are padded to a multiple of this: every new shape costs a compiled kernel, in time and in memory.
LENGTH_STEP = 16


class PaddedGenerator:
    """Generates batch by batch, longest prompts first.

    Args:
        model: A causal language model of transformers, on its device.
        selector: How tokens are chosen.
        slot_use: Counts the sequences that hold a slot.
        slots: Sequences in a batch, at most.
        token_budget: Padded prompts and outputs of a batch, in tokens, at most.
        new_tokens: Longest output.
        pad_token: Token to the left of shorter prompts; never attended to.
    """

    def __init__(
        self,
        model: Any,
        selector: Selector,
        slot_use: SlotUse,
        slots: int,
        token_budget: int,
        new_tokens: int,
        pad_token: int,
    ) -> None:
        self._model = model
        self._selector = selector
        self._slot_use = slot_use
        self._slots = slots
        self._budget = token_budget
        self._new = new_tokens
        self._pad = pad_token

    def rest(self) -> None:
        """See :class:`~dobby_dagster.inference.local.generator.Generator`; nothing is kept from one run to the next."""

    def run(self, sequences: list[Sequence]) -> Iterator[Sequence]:
        """Generate; sequences come when their batch is finished."""
        lengths = [len(sequence.prompt_ids) for sequence in sequences]
        for indices in by_length(lengths, self._slots, self._budget, self._new):
            began = time.perf_counter()
            batch = [sequences[index] for index in indices]
            self._slot_use.change(len(batch))
            for sequence in batch:
                sequence.admitted_at = began
            try:
                self._generate(batch)
            finally:
                self._slot_use.change(-len(batch))
            seconds = time.perf_counter() - began
            for sequence in batch:
                sequence.seconds, sequence.slot_seconds = seconds / len(batch), seconds
                yield sequence

    def _generate(self, batch: list[Sequence]) -> None:
        import torch
        from transformers import DynamicCache

        device = self._model.device
        prompts = [sequence.prompt_ids for sequence in batch]
        longest = -(-max(map(len, prompts)) // LENGTH_STEP) * LENGTH_STEP
        ids = torch.full((len(prompts), longest), self._pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), longest), dtype=torch.long)
        for place, prompt in enumerate(prompts):
            ids[place, longest - len(prompt) :] = torch.tensor(prompt)
            mask[place, longest - len(prompt) :] = 1
        step, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        padded = any(len(prompt) < longest for prompt in prompts)
        cache = DynamicCache(config=self._model.config)
        running = batch
        while True:
            with torch.inference_mode():
                logits = self._model(
                    input_ids=step,
                    attention_mask=mask if padded else None,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[:, -1]
                if device.type == "cpu":
                    logits = logits.float().numpy()
                self._selector.advance(logits, running)
                heartbeat.token()
                kept = [place for place, sequence in enumerate(running) if not sequence.finished]
                if not kept:
                    return
                if len(kept) < len(running):
                    places = torch.tensor(kept, device=device)
                    cache.batch_select_indices(places)
                    mask, positions = mask[places], positions[places]
                    running = [running[place] for place in kept]
                step = torch.tensor([[sequence.output_ids[-1]] for sequence in running], device=device)
                positions = positions[:, -1:] + 1
                mask = torch.cat([mask, mask.new_ones((len(running), 1))], dim=1)
