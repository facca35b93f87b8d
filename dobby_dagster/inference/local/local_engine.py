"""The engine on this machine: any Qwen2 or Llama checkpoint on disk."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.batch_invariance import promise
from dobby_dagster.inference.engine import WINDOW, Answer, EngineHealth, ModelInfo, Request, empty_content
from dobby_dagster.inference.engine_choice import with_quantization
from dobby_dagster.inference.health_probe import PROBE, PROBE_PROMPT
from dobby_dagster.inference.local.answers import answer_of, failure_of, is_out_of_memory
from dobby_dagster.inference.local.devices import Placement, place
from dobby_dagster.inference.local.generator import Generator, LoadRequest
from dobby_dagster.inference.local.generator_selection import load_generator
from dobby_dagster.inference.local.prompt_encoding import Encoder
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.token_selection import Selector
from dobby_dagster.inference.local.tokenizer import Tokenizer, load_tokenizer
from dobby_dagster.inference.local.unused_memory import return_unused
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.prompts import NEW_TOKENS, Prompt
from dobby_dagster.inference.slot_use import SlotUse

log = logging.getLogger("dobby")
_device_log = logging.getLogger("dobby.device")
_device_log.setLevel(logging.WARNING)  # on a terminal too, where other warnings need --verbose


@dataclass
class LoadedState:
    """A model in memory, with all that stands around it."""

    tokenizer: Tokenizer
    encoder: Encoder
    generator: Generator
    placement: Placement
    info: ModelInfo
    close: Callable[[], None]


class LocalEngine:
    """See :class:`~dobby_dagster.inference.engine.Engine`.

    Args:
        source: A checked model.
        model: Device, dtype, quantization, and backend.
        inference: Slots, memory and generation.
    """

    def __init__(self, source: ModelSource, model: ModelSettings, inference: InferenceSettings) -> None:
        self.source = source
        self.slots = inference.slots
        self.slot_use = SlotUse()
        self._model_settings = model
        self._settings = inference.within(NEW_TOKENS)
        self._loaded: LoadedState | None = None

    def load(self) -> ModelInfo:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        return self._ready().info

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        """See :class:`~dobby_dagster.inference.engine.Engine`. Answers come as they are finished."""
        prompt = self.source.as_read(prompt)
        loaded = self._ready()
        stream = iter(requests)
        while window := list(itertools.islice(stream, max(1, self.slots * WINDOW))):
            yield from (empty_content(request) for request in window if not request.content.strip())
            filled = [request for request in window if request.content.strip()]
            yield from self._answer(loaded, loaded.encoder.encode(filled, prompt))

    def health(self) -> EngineHealth:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        began = time.perf_counter()
        try:
            loaded = self._ready()
            [sequence] = loaded.generator.run(loaded.encoder.encode([PROBE], PROBE_PROMPT))
        except ModelError as error:
            return EngineHealth(False, time.perf_counter() - began, str(error))
        message = "a summary generated" if sequence.finite else "the model's output is not finite"
        return EngineHealth(sequence.finite, time.perf_counter() - began, message)

    def close(self) -> None:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        if self._loaded is None:
            return
        device = self._loaded.placement.device
        self._loaded.close()
        self._loaded = None
        return_unused(device)

    def rest(self) -> None:
        """Free what only a run needs; the model stays loaded."""
        if self._loaded is not None:
            self._loaded.generator.rest()
            return_unused(self._loaded.placement.device)

    def _ready(self) -> LoadedState:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> LoadedState:
        began = time.perf_counter()
        if not self._model_settings.allow_download:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        placement = place(self._model_settings, reproducible=self._settings.reproducible)
        model = with_quantization(self._model_settings, self._settings, self.source, placement.device)
        tell = log.info if self._model_settings.device in ("auto", placement.device) else _device_log.warning
        tell("model %s on %s: %s", self.source.name, placement.device, placement.reason)
        tokenizer = load_tokenizer(self.source)
        limit = self.source.prompt_limit(self._settings.max_prompt_tokens, self._settings.max_new_tokens)
        ends = _end_tokens(self.source, tokenizer)
        pad = tokenizer.token("pad_token")
        encoder = Encoder(tokenizer, limit)
        encoder.encode([PROBE], PROBE_PROMPT)  # a template that can't be rendered fails here, not in every run
        made = load_generator(
            LoadRequest(
                source=self.source,
                model=model,
                inference=self._settings,
                placement=placement,
                selector=Selector(self._settings, ends, tokenizer.decode),
                longest_prompt=limit,
                pad_token=min(ends, default=0) if pad is None else pad,
                slot_use=self.slot_use,
            )
        )
        return_unused(placement.device)
        self.slots = made.slots
        info = ModelInfo(
            name=self.source.name,
            path=str(self.source.path),
            architecture=self.source.architecture,
            revision=self.source.revision,
            parameters=made.parameters,
            memory_bytes=made.bytes,
            max_prompt_tokens=limit,
            device=placement.device,
            device_reason=placement.reason,
            dtype=made.dtype,
            quantization=model.quantization,
            load_seconds=time.perf_counter() - began,
            engine=made.backend,
            engine_reason=made.note,
            promise=promise(self._settings, model, made.dtype),
        )
        return LoadedState(tokenizer, encoder, made.generator, placement, info, made.close)

    def _answer(self, loaded: LoadedState, sequences: list[Sequence]) -> Iterator[Answer]:
        """An answer for each sequence; after an error the unfinished ones again in halves, until it is down to one."""
        unfinished = dict.fromkeys(sequences)
        try:
            for sequence in loaded.generator.run(sequences):
                del unfinished[sequence]
                yield answer_of(sequence, loaded.tokenizer.decode, self._settings.stop, self.source.calibration)
            return
        except (RuntimeError, MemoryError, IndexError, ValueError) as error:
            if len(unfinished) == 1:
                yield failure_of(next(iter(unfinished)).request, error)
                return
            reason = "out of memory" if is_out_of_memory(error) else error
            log.warning("a batch of %d failed (%s): retried in halves", len(unfinished), reason)
        return_unused(loaded.placement.device)
        retried = [sequence.restarted() for sequence in unfinished]
        half = len(retried) // 2
        for part in (retried[:half], retried[half:]):
            yield from self._answer(loaded, part)


def _end_tokens(source: ModelSource, tokenizer: Tokenizer) -> set[int]:
    """Tokens that end an output, from all that names them: configuration, generation settings, tokenizer."""
    eos = tokenizer.token("eos_token")
    named = {*source.config.eos_token_id, *source.end_tokens(), *([] if eos is None else [eos])}
    return {token for token in named if 0 <= token < source.config.vocab_size}
