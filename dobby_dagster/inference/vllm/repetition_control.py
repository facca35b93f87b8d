"""The ban on repeated n-grams and the repetition penalty, for vLLM's sampler, by the rules of Dobby's own selector.

vLLM's own penalty counts the prompt as repeated too, and it has no ban: a processor of logits does both. vLLM takes
log-probabilities before it runs, as the other engines do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor, process_dict_updates

from dobby_dagster.inference.local.token_selection import tail


@dataclass
class _Output:
    """The tokens of a request so far, in the list that vLLM appends to, and what came after each run of them."""

    tokens: list[int]
    followers: dict[tuple[int, ...], set[int]] = field(default_factory=dict)
    seen: int = 0

    def banned(self, size: int) -> set[int]:
        """The tokens that would complete an n-gram of ``size`` for the second time."""
        for count in range(max(self.seen, size - 1), len(self.tokens)):
            self.followers.setdefault(tail(self.tokens[:count], size), set()).add(self.tokens[count])
        self.seen = len(self.tokens)
        return self.followers.get(tail(self.tokens, size), set())


class RepetitionControl(LogitsProcessor):  # type: ignore[misc]
    """Settings are in vLLM's ``additional_config``: ``no_repeat_ngram`` and ``repetition_penalty``."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._size: int = vllm_config.additional_config["no_repeat_ngram"]
        self._penalty: float = vllm_config.additional_config["repetition_penalty"]
        self._outputs: dict[int, _Output] = {}

    def is_argmax_invariant(self) -> bool:
        """Whether the likeliest token stays the likeliest: it does not."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow requests as they get, change and leave their row of the batch."""
        process_dict_updates(self._outputs, batch_update, lambda params, prompt, tokens: _Output(tokens))

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Change the logits, (requests, vocabulary), in place."""
        rows: list[int] = []
        tokens: list[int] = []
        for row, output in self._outputs.items():
            if self._penalty != 1.0 and output.tokens:
                self._penalize(logits[row], output.tokens)
            if self._size:
                banned = output.banned(self._size)
                rows += [row] * len(banned)
                tokens += banned
        if rows:
            logits[torch.tensor(rows, device=logits.device), torch.tensor(tokens, device=logits.device)] = -torch.inf
        return logits

    def _penalize(self, scores: torch.Tensor, tokens: list[int]) -> None:
        places = torch.tensor(sorted(set(tokens)), device=scores.device)
        found = scores[places]
        scores[places] = torch.where(found < 0, found * self._penalty, found / self._penalty)
