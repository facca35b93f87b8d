"""The engine for a model behind a URL: concurrent requests to a server, as many as there are slots."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from dobby_dagster.domain.errors import DobbyError, InferenceError, ModelError, RecordError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.inference.engine import Answer, EngineHealth, Failure, Generation, ModelInfo, Request, empty_content
from dobby_dagster.inference.health_probe import PROBE, PROBE_PROMPT
from dobby_dagster.inference.prompts import NEW_TOKENS, Prompt
from dobby_dagster.inference.recipe import served_revision
from dobby_dagster.inference.remote.chat_request import chat_request, without_middle
from dobby_dagster.inference.remote.completion import Completion
from dobby_dagster.inference.remote.completion_attempt import TooLongError
from dobby_dagster.inference.remote.completions_client import ServerClient
from dobby_dagster.inference.remote.dialect import share_that_fits
from dobby_dagster.inference.slot_use import SlotUse

# The server's tokenizer is unknown: code has about three characters per token, and the server has its own limit.
CHARACTERS_PER_TOKEN = 3
# How often a content is shortened for a server that refuses it as too long, and the shortest that is tried.
MOST_CUTS = 8
LEAST_CHARACTERS = 100
# Characters of a token, at most: a server that writes more ignores the limit in the request.
_LONGEST_TOKEN = 64


class ServerEngine:
    """See :class:`~dobby_dagster.inference.engine.Engine`.

    Args:
        model: The server's URL, key and timeout, and the model's name there.
        inference: Generation settings; ``slots`` is the number of concurrent requests.

    Raises:
        ModelError: The settings ask for reproducible mode, which no server guarantees, or for two kinds of credentials.
    """

    def __init__(self, model: ModelSettings, inference: InferenceSettings) -> None:
        if inference.reproducible:
            raise ModelError(
                "inference.reproducible = true can't be guaranteed for a model server",
                hint="use a model folder for that",
            )
        if model.api_key and model.credentials:
            raise ModelError(
                "model.api_key and credentials for model.url are both set, and only one can be sent",
                hint="unset model.api_key, or take USER:PASSWORD out of model.url and model.credentials",
            )
        self.slots = inference.slots
        self.slot_use = SlotUse()
        self._model = model
        self._settings = inference.within(NEW_TOKENS)
        self._client: ServerClient | None = None
        self._info: ModelInfo | None = None
        self._name = model.served_name

    def load(self) -> ModelInfo:
        """See :class:`~dobby_dagster.inference.engine.Engine`. Checks that the server has the model."""
        if self._info is None:
            began = time.perf_counter()
            name = self._model.served_name
            self._name = self._found(name, self._connected().models())
            self._info = ModelInfo(
                name=name,
                path=self._model.url,
                architecture="unknown",
                revision=served_revision(name),
                parameters=0,
                memory_bytes=0,
                max_prompt_tokens=self._settings.max_prompt_tokens,
                device="server",
                device_reason=f"{self._model.url} runs it",
                dtype="unknown",
                quantization="unknown",
                load_seconds=time.perf_counter() - began,
                engine="server",
                engine_reason="model.url is set",
            )
        return self._info

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        """See :class:`~dobby_dagster.inference.engine.Engine`.

        Raises:
            ModelServerError: The server does not answer; requests in progress are given up.
        """
        self.load()
        stream = iter(requests)
        pool = ThreadPoolExecutor(self.slots, thread_name_prefix="dobby-server")
        in_progress: set[Future[Answer]] = set()
        try:
            while True:
                for request in itertools.islice(stream, self.slots - len(in_progress)):
                    in_progress.add(pool.submit(self._ask, request, prompt, len(in_progress) + 1, time.perf_counter()))
                if not in_progress:
                    return
                done, in_progress = wait(in_progress, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except ModelError:
            self.close()  # so that other requests in progress don't wait for the server
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def health(self) -> EngineHealth:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        began = time.perf_counter()
        try:
            self.load()
            answer = self._ask(PROBE, PROBE_PROMPT, 1, began)
        except DobbyError as error:
            return EngineHealth(False, time.perf_counter() - began, str(error))
        if isinstance(answer, Failure):
            return EngineHealth(False, time.perf_counter() - began, str(answer.error))
        return EngineHealth(True, time.perf_counter() - began, "a summary generated")

    def close(self) -> None:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        if self._client is not None:
            self._client.close()
        self._client = self._info = None

    def _connected(self) -> ServerClient:
        if self._client is None:
            self._client = ServerClient(self._model, self.slots, self._probe)
        return self._client

    def _probe(self) -> dict[str, Any]:
        return self._body(PROBE, PROBE_PROMPT, PROBE.content)

    def _found(self, name: str, known: list[str]) -> str:
        """The server's name for the model: one without a tag means the tag ``latest``, as in Ollama."""
        for spelling in (name, f"{name}:latest", name.removesuffix(":latest")):
            if not known or spelling in known:
                return spelling
        raise ModelError(
            f"the model server {self._model.url} has no model '{name}'",
            hint=suggestion(name, [each[:100] for each in sorted(known)[:20]]),
        )

    def _ask(self, request: Request, prompt: Prompt, in_progress: int, taken_at: float) -> Answer:
        if not request.content.strip():
            return empty_content(request)
        began = time.perf_counter()
        self.slot_use.change(+1)
        try:
            completion, truncated = self._completed(request, prompt)
            text = self._text(completion)
        except RecordError as error:
            return Failure(request.id, error)
        finally:
            self.slot_use.change(-1)
        seconds = time.perf_counter() - began
        logprobs, usage = completion.logprobs, completion.usage
        tokens = (usage.completion_tokens if usage else None) or len(logprobs) or None
        mean = sum(logprobs) / len(logprobs) if logprobs else None
        reason = completion.finish_reason
        if reason == "unknown" and tokens is not None and tokens >= self._settings.max_new_tokens:
            reason = "length"
        return Generation(
            id=request.id,
            text=text,
            # Not every server gives probabilities; without them the confidence is unknown.
            confidence=None if mean is None else math.exp(mean),
            mean_logprob=mean,
            min_logprob=min(logprobs, default=None),
            finish_reason=reason,
            prompt_tokens=(usage.prompt_tokens if usage else None) or None,
            output_tokens=tokens,
            truncated=truncated,
            seconds=seconds / in_progress,
            slot_seconds=seconds,
            queue_seconds=began - taken_at,
        )

    def _completed(self, request: Request, prompt: Prompt) -> tuple[Completion, bool]:
        """The completion, and whether the content was shortened: to the setting, then until the server takes it."""
        room = self._settings.max_prompt_tokens * CHARACTERS_PER_TOKEN
        for _ in range(MOST_CUTS):
            content, truncated = without_middle(request.content, room)
            try:
                return self._connected().complete(self._body(request, prompt, content)), truncated
            except TooLongError as error:
                message = str(error)
                if len(content) <= LEAST_CHARACTERS:
                    break
                share = share_that_fits(error.reply, self._settings.max_new_tokens)
                room = max(LEAST_CHARACTERS, int(len(content) * share))
        raise InferenceError(f"the record does not fit the model server's context: {message}")

    def _text(self, completion: Completion) -> str:
        text = completion.text()
        for stop in self._settings.stop:
            text = text.split(stop, 1)[0]
        longest = self._settings.max_new_tokens * _LONGEST_TOKEN
        if len(text) > longest:
            raise InferenceError(
                f"the model server's answer of {len(text):,} characters is longer than "
                f"{self._settings.max_new_tokens} tokens can be"
            )
        return text.strip()

    def _body(self, request: Request, prompt: Prompt, content: str) -> dict[str, Any]:
        return chat_request(self._name, self._settings, prompt.filled(request.language), content)
