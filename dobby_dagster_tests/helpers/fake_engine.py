"""The engine for tests of what stands around one: exact, instant, and able to fail on demand."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice

from dobby_dagster.domain.errors import InferenceError, RecordError
from dobby_dagster.domain.summaries import FinishReason
from dobby_dagster.inference.engine import Answer, EngineHealth, Failure, Generation, ModelInfo, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.inference.slot_use import SlotUse


class FakeEngine:
    """Summarises a content by its own words.

    A content with ``FAIL`` in it fails; with ``EMPTY`` gives nothing; with ``ECHO`` gives the instruction back;
    with ``ONCE`` fails at its first try only; with ``UNSURE`` tells no probabilities and counts no tokens; with ``LONG``
    is cut off; with ``STUTTER`` or ``FOREIGN`` writes a word again and again, or a name of its own, unless it is told to
    avoid that, with ``STUBBORN`` also then. ``asked`` counts how often each content was inferred.
    """

    def __init__(self, slots: int = 4, seed: int = 0, words: int = 6) -> None:
        self.slots, self.words = slots, words
        self.slot_use = SlotUse()
        self.asked: dict[str, int] = {}
        self.most_pulled = 0
        self._random = random.Random(seed)
        self._loaded = False

    def load(self) -> ModelInfo:
        self._loaded = True
        return ModelInfo("fake", "", "Fake", "0", 1, 1, 100, "cpu", "", "float32", "none", 0.0)

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        stream = iter(requests)
        while window := list(islice(stream, self.slots)):
            self.most_pulled = max(self.most_pulled, len(window))
            self._random.shuffle(window)
            self.slot_use.change(len(window))
            for request in window:
                answer = self._answer(request, prompt)
                self.slot_use.change(-1)
                yield answer

    def _answer(self, request: Request, prompt: Prompt) -> Answer:
        if not request.content.strip():
            return Failure(request.id, RecordError("the content is empty"))
        count = self.asked[request.content] = self.asked.get(request.content, 0) + 1
        if "FAIL" in request.content or ("ONCE" in request.content and count == 1):
            return Failure(request.id, InferenceError("told to fail"))
        text = f"It says {' '.join(request.content.split()[: self.words])} indeed."
        text = "" if "EMPTY" in request.content else prompt.system if "ECHO" in request.content else text
        if request.avoid is None or "STUBBORN" in request.content:
            text = "It is a TaskTaskTask." if "STUTTER" in request.content else text
            text = "It is a RichServer." if "FOREIGN" in request.content else text
        if "UNSURE" in request.content:
            return Generation(request.id, text, None, None, None, "unknown", None, None, False, 0.001, 0.002)
        reason: FinishReason = "length" if "LONG" in request.content else "stop"
        return Generation(request.id, text, 0.6065, -0.5, -1.0, reason, 10, 5, False, 0.001, 0.002, 0.02)

    def health(self) -> EngineHealth:
        return EngineHealth(True, 0.0, "fine")

    def close(self) -> None:
        self._loaded = False
