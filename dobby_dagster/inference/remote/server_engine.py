"""The engine by URL: as many requests at once as there are slots, to a server that runs the model."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from dobby_dagster.domain.errors import DobbyError, InferenceError, ModelError, RecordError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.domain.summaries import FinishReason
from dobby_dagster.inference.benchmark import CONTENT, PROMPT, timed
from dobby_dagster.inference.engine import Answer, Benchmark, EngineHealth, Failure, Generation, ModelInfo, Request
from dobby_dagster.inference.prompts import CUT, Prompt, truncate_middle
from dobby_dagster.inference.recipe import served_revision
from dobby_dagster.inference.remote.client import ServerClient

# The server's tokens are not known here; code has about three characters a token, and the server has its own limit.
CHARACTERS_PER_TOKEN = 3


class ServerEngine:
    """See :class:`~dobby_dagster.inference.engine.Engine`.

    Args:
        model: The server's URL, the model's name there, key and time-out.
        inference: ``slots`` is how many requests are under way at once.

    Raises:
        ModelError: Something is asked for that no server can promise.
    """

    def __init__(self, model: ModelSettings, inference: InferenceSettings) -> None:
        if inference.reproducible:
            raise ModelError(
                "inference.reproducible = true can't be promised for a model server", hint="use a model folder for that"
            )
        self.slots = inference.slots
        self._model = model
        self._settings = inference
        self._client: ServerClient | None = None
        self._info: ModelInfo | None = None

    def load(self) -> ModelInfo:
        """See :class:`~dobby_dagster.inference.engine.Engine`. Asks the server whether it has the model."""
        if self._info is None:
            began = time.perf_counter()
            name = self._model.served_name
            known = self._connected().models()
            if known and name not in known:
                raise ModelError(
                    f"the model server {self._model.url} has no model '{name}'",
                    hint=f"it has: {', '.join(sorted(known)[:10])}",
                )
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
            ModelServerError: The server is gone; requests under way are given up.
        """
        self.load()
        stream = iter(requests)
        pool = ThreadPoolExecutor(self.slots, thread_name_prefix="dobby-server")
        under_way: set[Future[Answer]] = set()
        try:
            while True:
                for request in itertools.islice(stream, self.slots - len(under_way)):
                    under_way.add(pool.submit(self._ask, request, prompt, len(under_way) + 1))
                if not under_way:
                    return
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except ModelError:
            self.close()  # what else is under way need not wait for a server that is gone
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def health(self) -> EngineHealth:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        began = time.perf_counter()
        try:
            self.load()
            answer = self._ask(Request("health", CONTENT, "python"), PROMPT, 1)
        except DobbyError as error:
            return EngineHealth(False, time.perf_counter() - began, str(error))
        if isinstance(answer, Failure):
            return EngineHealth(False, time.perf_counter() - began, str(answer.error))
        return EngineHealth(True, time.perf_counter() - began, "a summary generated")

    def benchmark(self, requests: int = 64) -> Benchmark:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        return timed(self, requests)

    def close(self) -> None:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        if self._client is not None:
            self._client.close()
        self._client = self._info = None

    def _connected(self) -> ServerClient:
        if self._client is None:
            key = self._model.api_key.get_secret_value() if self._model.api_key else None
            self._client = ServerClient(self._model.url, key, self._model.timeout_seconds, self.slots)
        return self._client

    def _ask(self, request: Request, prompt: Prompt, company: int) -> Answer:
        began = time.perf_counter()
        body, truncated = self._body(request, prompt)
        try:
            answer = self._connected().complete(body)
            text, reason, logprobs = _read(answer)
        except RecordError as error:
            return Failure(request.id, error)
        usage = answer.get("usage") or {}
        mean, least = (sum(logprobs) / len(logprobs), min(logprobs)) if logprobs else (None, None)
        tokens = int(usage.get("completion_tokens") or len(logprobs)) or None
        return Generation(
            id=request.id,
            text=text.strip(),
            # Not every server gives probabilities; without them nothing is known, and nothing is claimed.
            confidence=None if mean is None else min(1.0, math.exp(mean)),
            mean_logprob=mean,
            min_logprob=least,
            finish_reason=reason,
            prompt_tokens=int(usage.get("prompt_tokens") or 0) or None,
            output_tokens=tokens,
            truncated=truncated,
            seconds=(time.perf_counter() - began) / company,
            batch_size=company,
        )

    def _body(self, request: Request, prompt: Prompt) -> tuple[dict[str, Any], bool]:
        system, before, after = prompt.filled(request.language)
        room = self._settings.max_prompt_tokens * CHARACTERS_PER_TOKEN
        places, truncated = truncate_middle(range(len(request.content)), room, [-1] * len(CUT))
        content = request.content
        if truncated:
            head = places.index(-1)
            content = content[:head] + CUT + content[len(content) - (len(places) - head - len(CUT)) :]
        settings = self._settings
        body: dict[str, Any] = {
            "model": self._model.served_name,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": f"{before}{content}{after}"},
            ],
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "seed": settings.seed,
            "stream": False,
            "logprobs": True,
        }
        if settings.temperature:
            body["top_p"] = settings.top_p
        if settings.stop:
            body["stop"] = list(settings.stop)
        return body, truncated


def _read(answer: dict[str, Any]) -> tuple[str, FinishReason, list[float]]:
    """Text, reason of the end, and log-probabilities of a chat completion.

    Raises:
        InferenceError: It is none.
    """
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
        found = ((choice.get("logprobs") or {}).get("content")) or []
        logprobs = [float(each["logprob"]) for each in found]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InferenceError(f"the model server's answer is malformed: {error!r}") from None
    if not isinstance(text, str):
        raise InferenceError("the model server's answer is malformed: its content is no text")
    return text, "length" if choice.get("finish_reason") == "length" else "stop", logprobs
