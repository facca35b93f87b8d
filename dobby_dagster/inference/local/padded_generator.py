"""Any device, by transformers' own model: batches padded on the left, rows dropped as they finish."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from dobby_dagster.inference.local.length_bands import by_length
from dobby_dagster.inference.local.prompt_encoding import Encoded
from dobby_dagster.inference.local.token_selection import Row, Selector, Written

# Prompts are padded to a multiple of this: every new shape costs a compiled kernel, in time and in memory.
LENGTH_STEP = 16


class PaddedGenerator:
    """Writes outputs batch by batch, longest prompts first.

    Args:
        model: A causal language model of transformers, on its device.
        selector: How tokens are chosen.
        slots: Prompts in a batch, at most.
        token_budget: Padded prompts and outputs of a batch, in tokens, at most.
        new_tokens: Longest output.
        pad_token: Identifier to the left of shorter prompts; never attended to.
    """

    def __init__(
        self, model: Any, selector: Selector, slots: int, token_budget: int, new_tokens: int, pad_token: int
    ) -> None:
        self._model = model
        self._selector = selector
        self._slots = slots
        self._budget = token_budget
        self._new = new_tokens
        self._pad = pad_token

    def run(self, prompts: Sequence[Encoded], seeds: Sequence[str]) -> Iterator[Written]:
        """Outputs as their batches are finished."""
        lengths = [len(prompt.ids) for prompt in prompts]
        for batch in by_length(lengths, self._slots, self._budget, self._new):
            began = time.perf_counter()
            rows = [self._selector.row(seeds[index], self._model.device) for index in batch]
            self._write([prompts[index].ids for index in batch], rows)
            share = (time.perf_counter() - began) / len(batch)
            for index, row in zip(batch, rows, strict=True):
                yield Written(index, row.output, share, len(batch))

    def _write(self, prompts: Sequence[Sequence[int]], rows: Sequence[Row]) -> None:
        import torch
        from transformers import DynamicCache

        device = self._model.device
        longest = -(-max(len(prompt) for prompt in prompts) // LENGTH_STEP) * LENGTH_STEP
        ids = torch.full((len(prompts), longest), self._pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), longest), dtype=torch.long)
        for place, prompt in enumerate(prompts):
            ids[place, longest - len(prompt) :] = torch.tensor(prompt)
            mask[place, longest - len(prompt) :] = 1
        step, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        padded = any(len(prompt) < longest for prompt in prompts)
        cache = DynamicCache(config=self._model.config)
        alive = list(rows)
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
                tokens = torch.tensor(self._selector.advance(logits, alive), device=device)
                kept = [place for place, row in enumerate(alive) if not row.output.ended]
                if not kept:
                    return
                if len(kept) < len(alive):
                    places = torch.tensor(kept, device=device)
                    cache.batch_select_indices(places)
                    mask, positions, tokens = mask[places], positions[places], tokens[places]
                    alive = [alive[place] for place in kept]
                step = tokens[:, None]
                positions = positions[:, -1:] + 1
                mask = torch.cat([mask, mask.new_ones((len(alive), 1))], dim=1)
