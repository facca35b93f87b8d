"""The engine on transformers: any Qwen2 or Llama checkpoint in a local folder."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.errors import DegenerateOutputError, InferenceError, ModelError, OutOfMemoryError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.batching import by_length
from dobby_dagster.inference.confidence import Signs, confidence, is_copied
from dobby_dagster.inference.decoding import Decoder, Output
from dobby_dagster.inference.devices import Placement, place
from dobby_dagster.inference.encoding import Encoded, Encoder
from dobby_dagster.inference.engine import Answer, Benchmark, EngineHealth, Failure, Generation, ModelInfo, Request
from dobby_dagster.inference.loading import end_tokens, load_model, load_tokenizer, one_line, quantize
from dobby_dagster.inference.model_folder import ModelFolder
from dobby_dagster.inference.prompts import Prompt

log = logging.getLogger("dobby")
# Requests pulled from the stream at once, in multiples of the slots: more, and lengths pair better.
WINDOW = 4
_BENCHMARK_CONTENT = 'def read(path):\n    with open(path, encoding="utf-8") as stream:\n        return stream.read()\n'


@dataclass
class _Loaded:
    model: Any
    tokenizer: Any
    encoder: Encoder
    decoder: Decoder
    placement: Placement
    info: ModelInfo


class TransformersEngine:
    """See :class:`~dobby_dagster.inference.engine.Engine`.

    Args:
        folder: A checked model folder.
        model: Device, dtype and quantization.
        inference: Slots, token budget and generation.
    """

    def __init__(self, folder: ModelFolder, model: ModelSettings, inference: InferenceSettings) -> None:
        self.folder = folder
        self.slots = 1 if inference.reproducible else inference.slots
        self._model_settings = model
        self._settings = inference
        self._loaded: _Loaded | None = None

    def load(self) -> ModelInfo:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        return self._ready().info

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        """See :class:`~dobby_dagster.inference.engine.Engine`. Answers come batch by batch, longest prompts first."""
        self.folder.require_prompt(prompt)
        loaded = self._ready()
        stream = iter(requests)
        while window := list(itertools.islice(stream, max(1, self.slots * WINDOW))):
            encoded = loaded.encoder.encode(window, prompt)
            lengths = [len(item.ids) for item in encoded]
            budget = self._settings.token_budget
            for batch in by_length(lengths, self.slots, budget, self._settings.max_new_tokens):
                yield from self._answer(loaded, [window[i] for i in batch], [encoded[i] for i in batch])

    def health(self) -> EngineHealth:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        began = time.perf_counter()
        try:
            loaded = self._ready()
            one = Decoder(
                loaded.model, self._settings.model_copy(update={"max_new_tokens": 1}), set(), 0, loaded.tokenizer.decode
            )
            ids = loaded.encoder.plain([_BENCHMARK_CONTENT])[0]
            ok = one.generate([ids], ["health"])[0].finite
        except ModelError as error:
            return EngineHealth(False, time.perf_counter() - began, str(error))
        message = "one token generated" if ok else "the model's output is not finite"
        return EngineHealth(ok, time.perf_counter() - began, message)

    def benchmark(self, requests: int = 64) -> Benchmark:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        self._ready()
        prompt = Prompt(id="summary", version=1, system="Summarize.")
        asked = [Request(str(i), _BENCHMARK_CONTENT, "python") for i in range(requests)]
        began = time.perf_counter()
        answers = [answer for answer in self.infer(asked, prompt) if isinstance(answer, Generation)]
        seconds = time.perf_counter() - began
        tokens = sum(answer.output_tokens for answer in answers)
        return Benchmark(len(answers), seconds, len(answers) / seconds * 60, tokens / seconds)

    def close(self) -> None:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        if self._loaded is None:
            return
        device = self._loaded.placement.device
        self._loaded = None
        gc.collect()
        if device == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _ready(self) -> _Loaded:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> _Loaded:
        began = time.perf_counter()
        if not self._model_settings.allow_download:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        placement = place(self._model_settings, reproducible=self._settings.reproducible)
        log.info("model %s on %s: %s", self.folder.name, placement.device, placement.reason)
        tokenizer = load_tokenizer(self.folder)
        model = load_model(self.folder, placement)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if self._model_settings.quantization == "int8":
            model = quantize(model)
        ends = end_tokens(model, tokenizer)
        limit = self.folder.prompt_limit(self._settings.max_prompt_tokens, self._settings.max_new_tokens)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)
        info = ModelInfo(
            name=self.folder.name,
            path=str(self.folder.path),
            architecture=self.folder.architecture,
            revision=self.folder.revision,
            parameters=parameters,
            memory_bytes=sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())),
            max_prompt_tokens=limit,
            device=placement.device,
            device_reason=placement.reason,
            dtype=str(placement.dtype).removeprefix("torch."),
            quantization=self._model_settings.quantization,
            load_seconds=time.perf_counter() - began,
        )
        decoder = Decoder(model, self._settings, ends, pad, tokenizer.decode)
        return _Loaded(model, tokenizer, Encoder(tokenizer, limit), decoder, placement, info)

    def _answer(self, loaded: _Loaded, requests: Sequence[Request], encoded: Sequence[Encoded]) -> Iterator[Answer]:
        """One batch; halved where memory runs out or something in it fails, down to the record that is to blame."""
        began = time.perf_counter()
        try:
            outputs = loaded.decoder.generate([item.ids for item in encoded], [r.id for r in requests])
        except (RuntimeError, MemoryError, IndexError, ValueError) as error:
            exhausted = _is_out_of_memory(error)
            if len(requests) == 1:
                yield _failure(requests[0], error, exhausted)
                return
            log.warning("a batch of %d failed (%s): halved", len(requests), "out of memory" if exhausted else error)
            half = len(requests) // 2
        else:
            share = (time.perf_counter() - began) / len(requests)
            for request, item, output in zip(requests, encoded, outputs, strict=True):
                yield self._finish(loaded, request, item, output, share, len(requests))
            return
        _free(loaded.placement.device)
        yield from self._answer(loaded, requests[:half], encoded[:half])
        yield from self._answer(loaded, requests[half:], encoded[half:])

    def _finish(
        self, loaded: _Loaded, request: Request, item: Encoded, output: Output, seconds: float, batch_size: int
    ) -> Answer:
        if not output.finite:
            return Failure(request.id, DegenerateOutputError("the model's output is not finite"))
        text = loaded.tokenizer.decode(output.tokens, skip_special_tokens=True)
        for stop in self._settings.stop:
            text = text.split(stop, 1)[0]
        logprobs = output.logprobs or [0.0]
        mean, least, tokens = sum(logprobs) / len(logprobs), min(logprobs), len(output.tokens)
        signs = Signs(mean, least, tokens, is_copied(text, request.content))
        return Generation(
            id=request.id,
            text=text.strip(),
            confidence=confidence(signs, self.folder.calibration),
            mean_logprob=mean,
            min_logprob=least,
            finish_reason=output.finish_reason,
            prompt_tokens=len(item.ids),
            output_tokens=tokens,
            truncated=item.truncated,
            seconds=seconds,
            batch_size=batch_size,
        )


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _failure(request: Request, error: BaseException, exhausted: bool) -> Failure:
    if exhausted:
        return Failure(request.id, OutOfMemoryError("the record does not fit the device's memory, even alone"))
    return Failure(request.id, InferenceError(f"inference failed: {one_line(error)}"))


def _free(device: str) -> None:
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
