"""The token loop: one padded batch from prompts to outputs, with the log-probability of every token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dobby_dagster.domain.settings import InferenceSettings
from dobby_dagster.domain.summaries import FinishReason

if TYPE_CHECKING:
    import torch


# Prompts are padded to a multiple of this: every new shape costs a compiled kernel, in time and in memory.
LENGTH_STEP = 16


@dataclass(slots=True)
class Output:
    """The tokens of one row, and how they ended.

    ``finite`` is False where a logit was not a number: the row ends there and its text is worth nothing.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason = "length"
    finite: bool = True


class Decoder:
    """Generates for batches of prompts.

    Args:
        model: A causal language model of transformers, on its device.
        settings: Greedy or sampling, its filters, stop texts, and the longest output.
        end_tokens: Identifiers that end an output.
        pad_token: Identifier to the left of shorter prompts; never attended to.
        decode: From identifiers to text, for stop texts.
    """

    def __init__(
        self,
        model: Any,
        settings: InferenceSettings,
        end_tokens: set[int],
        pad_token: int,
        decode: Callable[[list[int]], str],
    ) -> None:
        self._model = model
        self._settings = settings
        self._end = end_tokens
        self._pad = pad_token
        self._decode = decode
        self._warpers = _warpers(settings)
        self._processors = [*_repetition(settings), *self._warpers]

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[str]) -> list[Output]:
        """One output for each prompt, in order; ``seeds`` make sampling independent of the batch."""
        import torch

        with torch.inference_mode():
            return self._generate(prompts, seeds)

    def _generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[str]) -> list[Output]:
        import torch
        from transformers import DynamicCache

        device = self._model.device
        longest = -(-max(len(prompt) for prompt in prompts) // LENGTH_STEP) * LENGTH_STEP
        ids = torch.full((len(prompts), longest), self._pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), longest), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        step, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        padded = any(len(prompt) < longest for prompt in prompts)
        outputs = [Output() for _ in prompts]
        draws = [_generator(self._settings.seed, seed, device) for seed in seeds] if self._settings.temperature else []
        alive = list(range(len(prompts)))
        cache = DynamicCache(config=self._model.config)
        for _ in range(self._settings.max_new_tokens):
            logits = (
                self._model(
                    input_ids=step,
                    attention_mask=mask if padded else None,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                .logits[:, -1]
                .float()
            )
            chosen, logprobs = self._choose(logits, outputs, alive, draws)
            kept = self._append(outputs, alive, chosen.tolist(), logprobs.tolist())
            if not kept:
                break
            if len(kept) < len(alive):
                rows = torch.tensor(kept, device=device)
                cache.batch_select_indices(rows)
                mask, positions, chosen = mask[rows], positions[rows], chosen[rows]
                alive = [alive[row] for row in kept]
            step = chosen[:, None]
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones((len(alive), 1))], dim=1)
        return outputs

    def _choose(
        self, logits: torch.Tensor, outputs: list[Output], alive: list[int], draws: list[torch.Generator]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The next token of each live row, and its log-probability under the model itself."""
        import torch

        written = torch.tensor([outputs[row].tokens for row in alive], dtype=torch.long, device=logits.device)
        scores = logits
        for processor in self._processors if written.shape[1] else self._warpers:
            scores = processor(written, scores)
        if self._settings.temperature:
            probabilities = torch.softmax(scores, dim=-1).nan_to_num(0.0)
            chosen = torch.cat(
                [
                    torch.multinomial(row / row.sum().clamp(min=1e-9) + 1e-20, 1, generator=draws[index])
                    for row, index in zip(probabilities, alive, strict=True)
                ]
            )
        else:
            chosen = scores.argmax(dim=-1)
        logprobs = logits.gather(1, chosen[:, None]).squeeze(1) - logits.logsumexp(dim=-1)
        return chosen, logprobs

    def _append(self, outputs: list[Output], alive: list[int], chosen: list[int], logprobs: list[float]) -> list[int]:
        """Add one token to each live row; return the places in ``alive`` of the rows that go on."""
        kept = []
        for place, row in enumerate(alive):
            output, token, logprob = outputs[row], chosen[place], logprobs[place]
            if logprob != logprob or logprob == float("-inf"):
                output.finite = False
                continue
            output.logprobs.append(logprob)
            if token in self._end:
                output.finish_reason = "stop"
                continue
            output.tokens.append(token)
            if self._settings.stop and any(stop in self._decode(output.tokens) for stop in self._settings.stop):
                output.finish_reason = "stop"
                continue
            kept.append(place)
        return kept


def _repetition(settings: InferenceSettings) -> list[Any]:
    """The library's filters that look at what was written so far."""
    from transformers import generation

    chosen: list[Any] = []
    if settings.repetition_penalty != 1.0:
        chosen.append(generation.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    if settings.no_repeat_ngram:
        chosen.append(generation.NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram))
    return chosen


def _warpers(settings: InferenceSettings) -> list[Any]:
    """The library's filters that shape the distribution to sample from."""
    from transformers import generation

    if not settings.temperature:
        return []
    chosen: list[Any] = [generation.TemperatureLogitsWarper(settings.temperature)]
    if settings.top_k:
        chosen.append(generation.TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        chosen.append(generation.TopPLogitsWarper(settings.top_p))
    return chosen


def _generator(seed: int, name: str, device: torch.device) -> torch.Generator:
    import torch

    value = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "little") >> 1
    return torch.Generator(device=device).manual_seed(value)
