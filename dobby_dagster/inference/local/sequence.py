"""A request on its way through the model: what is read, what was written, and what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dobby_dagster.domain.summaries import FinishReason
from dobby_dagster.inference.engine import Request

if TYPE_CHECKING:
    import torch

    from dobby_dagster.inference.local.avoidance import Avoidance

# Shorter prefixes are not worth being read apart.
_LEAST_PREFIX_TOKENS = 16


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt in tokens, and the output so far. Each sequence is generated once; see :meth:`restarted`.

    Attributes:
        request: Where it comes from; its ``id`` seeds sampling, so that draws don't depend on the batch.
        prompt_ids: The prompt's tokens.
        instruction_tokens: How many of these stand before the content, the same for all contents of its language.
        truncated: Whether the middle of the content was left out.
        output_ids: Tokens written, without the one that ended the text.
        logprobs: Natural logarithms of their probabilities; that of the token which ended the text is included.
        finish_reason: ``length`` unless the model or a stop text ended the output.
        finished: Whether the output is complete.
        finite: False where a logit was not a number: the output ended there, and is to be thrown away.
        seconds: Its share of the wall time: each pass through the model is shared by the sequences in it.
        taken_at: When the engine took it; seconds of the performance counter.
        admitted_at: When it got a slot, by the same clock.
        slot_seconds: How long it held the slot.
        followers: For each run of ``no_repeat_ngram - 1`` output tokens, those that came after it.
        random: Its own random numbers, where tokens are sampled.
        avoidance: What it may not go on with, where it is a second output.

    >>> sequence = Sequence(Request("r0", "x = 1"), [5, 6, 7])
    >>> sequence.output_ids.append(9)
    >>> sequence.cached_tokens
    3
    """

    request: Request
    prompt_ids: list[int]
    instruction_tokens: int = 0
    truncated: bool = False
    output_ids: list[int] = field(default_factory=list, init=False)
    logprobs: list[float] = field(default_factory=list, init=False)
    finish_reason: FinishReason = field(default="length", init=False)
    finished: bool = field(default=False, init=False)
    finite: bool = field(default=True, init=False)
    seconds: float = field(default=0.0, init=False)
    taken_at: float = field(default_factory=time.perf_counter, init=False)
    admitted_at: float = field(default=0.0, init=False)
    slot_seconds: float = field(default=0.0, init=False)
    followers: dict[tuple[int, ...], set[int]] = field(default_factory=dict, init=False, repr=False)
    random: torch.Generator | None = field(default=None, init=False, repr=False)
    avoidance: Avoidance | None = field(default=None, init=False, repr=False)

    @property
    def instruction(self) -> list[int]:
        """The tokens before the content."""
        return self.prompt_ids[: self.instruction_tokens]

    @property
    def prefix(self) -> tuple[int, ...]:
        """Tokens to read once for all sequences that begin with them; empty where that does not pay."""
        length = min(self.instruction_tokens, len(self.prompt_ids) - 1)
        return tuple(self.prompt_ids[:length]) if length >= _LEAST_PREFIX_TOKENS else ()

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values are in its slot while it is running: all but the last output token."""
        return len(self.prompt_ids) + len(self.output_ids) - 1

    def restarted(self) -> Sequence:
        """The prompt with an empty output; it is still waiting since it was taken."""
        again = replace(self)
        again.taken_at = self.taken_at
        return again
