"""What an engine is: it loads a model and answers a stream of requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dobby_dagster.domain.errors import RecordError
from dobby_dagster.domain.summaries import CUT_OFF, FinishReason
from dobby_dagster.inference.prompts import Prompt

# Requests that an engine pulls from a stream at once, in multiples of its slots: what is read together is alike in
# length, and few slots run empty before the next ones come.
WINDOW = 4


@dataclass(frozen=True, slots=True)
class Request:
    """One content to summarise; ``id`` comes back with the result."""

    id: str
    content: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """What the model wrote for the request ``id``.

    Attributes:
        confidence: The calibrated probability where the model brings one, else exp of the mean log-probability;
            None where no probabilities are known.
        mean_logprob, min_logprob: Natural logarithms over the output tokens, end of text included; None: unknown.
        finish_reason: ``length`` where the text was cut off, see :attr:`cut_off`.
        prompt_tokens, output_tokens: None where a model server does not count them.
        seconds: The request's share of the wall time: each pass through the model is shared by its requests.
        batch_size: The most requests that were in the works with it.
        truncated: The middle of the content was left out.
    """

    id: str
    text: str
    confidence: float | None
    mean_logprob: float | None
    min_logprob: float | None
    finish_reason: FinishReason
    prompt_tokens: int | None
    output_tokens: int | None
    truncated: bool
    seconds: float
    batch_size: int = 1

    @property
    def cut_off(self) -> bool:
        """Whether the model was stopped at its most tokens, so that the text may end in the middle."""
        return self.finish_reason == CUT_OFF


@dataclass(frozen=True, slots=True)
class Failure:
    """The request ``id`` failed; the others go on."""

    id: str
    error: RecordError


Answer: TypeAlias = Generation | Failure


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model, and where it runs.

    Attributes:
        promise: How far a summary depends on what was inferred beside it; ``""`` where nothing is known of that.
    """

    name: str
    path: str
    architecture: str
    revision: str
    parameters: int
    memory_bytes: int
    max_prompt_tokens: int
    device: str
    device_reason: str
    dtype: str
    quantization: str
    load_seconds: float
    engine: str = ""
    engine_reason: str = ""
    promise: str = ""


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """Whether a token comes out, and how fast."""

    ok: bool
    seconds: float
    message: str


class Engine(Protocol):
    """A model on a device.

    The contract, tested for every implementation: each request is answered exactly once, by its own
    identifier, in any order; requests are pulled in bounded numbers; a request that fails alone is a
    :class:`Failure`; the answer to a request does not depend on what else is asked in reproducible mode.
    """

    slots: int

    def load(self) -> ModelInfo:
        """Load the model unless it is loaded.

        Raises:
            ModelError: It can't be used.
        """
        ...

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        """Answer a stream of requests."""
        ...

    def health(self) -> EngineHealth:
        """Generate one token."""
        ...

    def close(self) -> None:
        """Free the memory; the engine can be loaded again."""
        ...
