"""The engine on this machine: any Qwen2 or Llama checkpoint in a local folder."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.errors import DegenerateOutputError, InferenceError, ModelError, OutOfMemoryError, RecordError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.batch_invariance import promise
from dobby_dagster.inference.engine import (
    WINDOW,
    Answer,
    EngineHealth,
    Failure,
    Generation,
    ModelInfo,
    Request,
)
from dobby_dagster.inference.health_probe import PROBE, PROBE_PROMPT
from dobby_dagster.inference.local.devices import Placement, place
from dobby_dagster.inference.local.generator import Generator, LoadRequest
from dobby_dagster.inference.local.generator_selection import load_generator
from dobby_dagster.inference.local.prompt_encoding import Encoded, Encoder
from dobby_dagster.inference.local.token_selection import Selector, Written
from dobby_dagster.inference.local.tokenizer import Tokenizer, load_tokenizer
from dobby_dagster.inference.models.model_folder import ModelFolder, one_line
from dobby_dagster.inference.models.tokenizer_files import read_ends
from dobby_dagster.inference.prompts import NEW_TOKENS, Prompt
from dobby_dagster.inference.scoring.confidence import OutputFeatures, confidence, is_copied
from dobby_dagster.inference.scoring.content_kind import kind_of
from dobby_dagster.inference.scoring.grounding import grounded_share

log = logging.getLogger("dobby")


@dataclass
class _LoadedModel:
    tokenizer: Tokenizer
    encoder: Encoder
    generator: Generator
    placement: Placement
    info: ModelInfo


class LocalEngine:
    """See :class:`~dobby_dagster.inference.engine.Engine`.

    Args:
        folder: A checked model folder.
        model: Device, dtype, quantization, and backend.
        inference: Slots, memory and generation.
    """

    def __init__(self, folder: ModelFolder, model: ModelSettings, inference: InferenceSettings) -> None:
        self.folder = folder
        self.slots = inference.slots
        self._model_settings = model
        self._settings = inference.within(NEW_TOKENS)
        self._loaded: _LoadedModel | None = None

    def load(self) -> ModelInfo:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        return self._ready().info

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        """See :class:`~dobby_dagster.inference.engine.Engine`. Answers come as they are finished."""
        prompt = self.folder.as_read(prompt)
        loaded = self._ready()
        stream = iter(requests)
        while window := list(itertools.islice(stream, max(1, self.slots * WINDOW))):
            told = [request for request in window if request.content.strip()]
            yield from (_nothing(request) for request in window if not request.content.strip())
            yield from self._answer(loaded, told, loaded.encoder.encode(told, prompt))

    def health(self) -> EngineHealth:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        began = time.perf_counter()
        try:
            loaded = self._ready()
            [written] = loaded.generator.run(loaded.encoder.encode([PROBE], PROBE_PROMPT), ["health"])
        except ModelError as error:
            return EngineHealth(False, time.perf_counter() - began, str(error))
        ok = written.output.finite
        message = "a summary generated" if ok else "the model's output is not finite"
        return EngineHealth(ok, time.perf_counter() - began, message)

    def close(self) -> None:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        if self._loaded is None:
            return
        device = self._loaded.placement.device
        self._loaded = None
        _free(device)

    def _ready(self) -> _LoadedModel:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> _LoadedModel:
        began = time.perf_counter()
        if not self._model_settings.allow_download:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        placement = place(self._model_settings, reproducible=self._settings.reproducible)
        log.info("model %s on %s: %s", self.folder.name, placement.device, placement.reason)
        tokenizer = load_tokenizer(self.folder)
        limit = self.folder.prompt_limit(self._settings.max_prompt_tokens, self._settings.max_new_tokens)
        ends = _end_tokens(self.folder, tokenizer)
        pad = tokenizer.token("pad_token")
        encoder = Encoder(tokenizer, limit)
        encoder.encode([PROBE], PROBE_PROMPT)  # a template that can't be rendered shows here, not in the middle
        made = load_generator(
            LoadRequest(
                folder=self.folder,
                model=self._model_settings,
                inference=self._settings,
                placement=placement,
                selector=Selector(self._settings, ends, tokenizer.decode),
                longest_prompt=limit,
                pad_token=min(ends, default=0) if pad is None else pad,
            )
        )
        self.slots = made.slots
        info = ModelInfo(
            name=self.folder.name,
            path=str(self.folder.path),
            architecture=self.folder.architecture,
            revision=self.folder.revision,
            parameters=made.parameters,
            memory_bytes=made.bytes,
            max_prompt_tokens=limit,
            device=placement.device,
            device_reason=placement.reason,
            dtype=made.dtype,
            quantization=self._model_settings.quantization,
            load_seconds=time.perf_counter() - began,
            engine=made.backend,
            engine_reason=made.reason,
            promise=promise(self._settings, self._model_settings, made.dtype),
        )
        return _LoadedModel(tokenizer, encoder, made.generator, placement, info)

    def _answer(
        self, loaded: _LoadedModel, requests: Sequence[Request], encoded: Sequence[Encoded]
    ) -> Iterator[Answer]:
        """All of them; where memory runs out or something fails, what is left in halves, down to the one to blame."""
        left = dict(enumerate(requests))
        try:
            for written in loaded.generator.run(encoded, [request.id for request in requests]):
                request = left.pop(written.index)
                yield self._finish(loaded, request, encoded[written.index], written)
            return
        except (RuntimeError, MemoryError, IndexError, ValueError) as error:
            exhausted = _is_out_of_memory(error)
            if len(left) == 1:
                yield _failure(next(iter(left.values())), error, exhausted)
                return
            log.warning("a batch of %d failed (%s): halved", len(left), "out of memory" if exhausted else error)
        _free(loaded.placement.device)
        places = list(left)
        half = len(places) // 2
        for part in (places[:half], places[half:]):
            yield from self._answer(loaded, [left[i] for i in part], [encoded[i] for i in part])

    def _finish(self, loaded: _LoadedModel, request: Request, item: Encoded, written: Written) -> Answer:
        output = written.output
        if not output.finite:
            return Failure(request.id, DegenerateOutputError("the model's output is not finite"))
        text = loaded.tokenizer.decode(output.tokens)
        for stop in self._settings.stop:
            text = text.split(stop, 1)[0]
        logprobs = output.logprobs or [0.0]
        mean, least, tokens = sum(logprobs) / len(logprobs), min(logprobs), len(output.tokens)
        features = OutputFeatures(
            mean,
            least,
            tokens,
            is_copied(text, request.content),
            grounded_share(text, request.content),
            kind_of(request.content, request.language),
        )
        return Generation(
            id=request.id,
            text=text.strip(),
            confidence=confidence(features, self.folder.calibration),
            mean_logprob=mean,
            min_logprob=least,
            finish_reason=output.finish_reason,
            prompt_tokens=len(item.ids),
            output_tokens=tokens,
            truncated=item.truncated,
            seconds=written.seconds,
            batch_size=written.company,
        )


def _end_tokens(folder: ModelFolder, tokenizer: Tokenizer) -> set[int]:
    """All identifiers that end an output, whoever names them: configuration, generation settings, tokenizer."""
    eos = tokenizer.token("eos_token")
    named = {*folder.config.eos_token_id, *read_ends(folder.path), *([] if eos is None else [eos])}
    return {token for token in named if 0 <= token < folder.config.vocab_size}


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _nothing(request: Request) -> Failure:
    """A model would make something up."""
    return Failure(request.id, RecordError("the content is empty: there is nothing to summarize"))


def _failure(request: Request, error: BaseException, exhausted: bool) -> Failure:
    if exhausted:
        return Failure(request.id, OutOfMemoryError("the record does not fit the device's memory, even alone"))
    return Failure(request.id, InferenceError(f"inference failed: {one_line(error)}"))


def _free(device: str) -> None:
    gc.collect()
    if device == "cpu":
        return
    import torch

    (torch.cuda if device == "cuda" else torch.mps).empty_cache()
