"""The engine protocol: an engine loads a model and answers a stream of requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dobby_dagster.domain.errors import RecordError
from dobby_dagster.domain.summaries import CUT_OFF, FinishReason
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.inference.slot_use import SlotUse

# Requests that an engine pulls from a stream at once, in multiples of its slots: enough to group prompts of similar
# length, and to keep the slots busy.
WINDOW = 4


@dataclass(frozen=True, slots=True)
class Avoid:
    """What a second output should not have.

    Attributes:
        foreign_names: Names that are not in the content, see
            :func:`~dobby_dagster.inference.scoring.grounding.unsupported_names`.
        repeats: A word, or a part of a name, for the second time.
        capitals: A capital at the beginning of a word makes it a name.
    """

    foreign_names: bool = True
    repeats: bool = False
    capitals: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """A content to summarize.

    Attributes:
        id: Comes back in the answer.
        language: Fills the prompt's placeholder; ``""`` where it is unknown.
        avoid: None for a first output. Engines that select tokens themselves heed it where they do so greedily; others
            write what they wrote before.
    """

    id: str
    content: str
    language: str = ""
    avoid: Avoid | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """The output for the request ``id``.

    Attributes:
        confidence: The calibrated probability where the model has a calibration, else exp of the mean log-probability;
            None where it is unknown.
        mean_logprob, min_logprob: Natural logarithms over the output tokens, end of text included; None: unknown.
        finish_reason: ``length`` where the text was cut off, see :attr:`cut_off`.
        prompt_tokens, output_tokens: None where a model server does not count them.
        seconds: The request's share of the wall time: each pass through the model is shared by its requests.
        slot_seconds: How long it held a slot: the time from its prefill to its last token.
        queue_seconds: How long it waited for a slot, from when the engine took it; None where that is unknown.
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
    slot_seconds: float = 0.0
    queue_seconds: float | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the token limit ended the output, so that the text may stop in the middle."""
        return self.finish_reason == CUT_OFF


@dataclass(frozen=True, slots=True)
class Failure:
    """The request ``id`` failed; the others go on."""

    id: str
    error: RecordError


Answer: TypeAlias = Generation | Failure


def empty_content(request: Request) -> Failure:
    """The answer to a content without text, for which a model would make something up."""
    return Failure(request.id, RecordError("the content is empty: there is nothing to summarize"))


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model, and where it runs. Numbers are 0, and texts ``unknown``, where a model server does not tell.

    Attributes:
        promise: How far a summary depends on the other requests in its batch; ``""`` where that is unknown.
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

    @property
    def numbers(self) -> str:
        """What the model is computed in, for people, such as ``int8 and bfloat16``."""
        return self.dtype if self.quantization in ("none", "unknown") else f"{self.quantization} and {self.dtype}"


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """Whether a summary of a small probe can be generated, and how long that takes."""

    ok: bool
    seconds: float
    message: str


class Engine(Protocol):
    """A model on a device.

    The contract, tested for every implementation: each request is answered exactly once, under its own
    identifier, in any order; the number of requests in progress is bounded; an error of one request is a
    :class:`Failure`, and the others go on; in reproducible mode an answer does not depend on the other requests.
    """

    slots: int
    slot_use: SlotUse

    def load(self) -> ModelInfo:
        """Load the model, unless it is loaded already.

        Raises:
            ModelError: The model can't be used.
        """
        ...

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        """Answer a stream of requests."""
        ...

    def health(self) -> EngineHealth:
        """Generate a summary of a small probe."""
        ...

    def close(self) -> None:
        """Free the memory; the engine can be loaded again."""
        ...
