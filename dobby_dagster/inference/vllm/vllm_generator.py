"""Generation by vLLM, step by step: each sequence comes as it is finished."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from dobby_dagster.domain import heartbeat
from dobby_dagster.domain.settings import InferenceSettings
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.token_selection import Selector, random_seed
from dobby_dagster.inference.slot_use import SlotUse


class VllmGenerator:
    """vLLM schedules and samples; when an output ends is decided by the selector, as for the other engines.

    Args:
        engine: A ``vllm.LLMEngine`` in this process.
        settings: Greedy or sampling, its filters, and the longest output.
        selector: Ends outputs.
        slot_use: Counts the sequences that hold a slot.
        token_budget: Tokens of the running sequences at once, outputs included.
    """

    def __init__(
        self, engine: Any, settings: InferenceSettings, selector: Selector, slot_use: SlotUse, token_budget: int
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._selector = selector
        self._slot_use = slot_use
        self._budget = token_budget
        self._numbers = itertools.count()

    def try_out(self) -> None:
        """Generate one token: a model that vLLM can't run fails here, and not in every record."""
        self._engine.add_request(
            "trial", {"type": "token", "prompt_token_ids": [0]}, SamplingParams(max_tokens=1, detokenize=False)
        )
        while self._engine.has_unfinished_requests():
            self._engine.step()

    def rest(self) -> None:
        """See :class:`~dobby_dagster.inference.local.generator.Generator`; vLLM's memory is its own."""

    def run(self, sequences: list[Sequence]) -> Iterator[Sequence]:
        """Generate; sequences come as they are finished."""
        waiting, running = deque(sequences), dict[str, Sequence]()
        try:
            while waiting or running:
                while waiting and self._has_room(waiting[0], running.values()):
                    sequence = waiting.popleft()
                    running[self._admitted(sequence)] = sequence
                yield from self._step(running)
        finally:  # after an error, or where the caller stops, sequences are still running
            self._slot_use.change(-len(running))
            if running:
                self._engine.abort_request(list(running))
                # After an error it holds pages that count as computed, although they are not.
                self._engine.reset_prefix_cache()

    def _has_room(self, sequence: Sequence, running: Collection[Sequence]) -> bool:
        tokens = sum(len(each.prompt_ids) + self._settings.max_new_tokens for each in (sequence, *running))
        return not running or (len(running) < self._settings.slots and tokens <= self._budget)

    def _admitted(self, sequence: Sequence) -> str:
        name = str(next(self._numbers))
        prompt = {"type": "token", "prompt_token_ids": sequence.prompt_ids}
        self._engine.add_request(name, prompt, self._parameters(sequence))
        self._slot_use.change(+1)
        sequence.admitted_at = time.perf_counter()
        return name

    def _parameters(self, sequence: Sequence) -> SamplingParams:
        settings = self._settings
        return SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p if settings.temperature else 1.0,
            top_k=settings.top_k if settings.temperature else 0,
            seed=random_seed(settings.seed, sequence.request.id) if settings.temperature else None,
            max_tokens=settings.max_new_tokens,
            stop_token_ids=sorted(self._selector.end_tokens),
            logprobs=0,  # of the token that was chosen
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )

    def _step(self, running: dict[str, Sequence]) -> Iterator[Sequence]:
        """One pass through the model, and the sequences that are finished after it."""
        began, count = time.perf_counter(), len(running)
        outputs = self._engine.step()
        heartbeat.token()
        now = time.perf_counter()
        for sequence in running.values():
            sequence.seconds += (now - began) / count
        for output in outputs:
            sequence = running[output.request_id]
            [completion] = output.outputs
            for token, choices in zip(completion.token_ids, completion.logprobs, strict=True):
                self._selector.append(sequence, token, choices[token].logprob)
            if output.finished and not sequence.finished:
                raise RuntimeError(f"vLLM ended the output early ({completion.finish_reason})")
            if sequence.finished:
                del running[output.request_id]
                if not output.finished:
                    self._engine.abort_request([output.request_id])
                self._slot_use.change(-1)
                sequence.slot_seconds = now - sequence.admitted_at
                yield sequence
