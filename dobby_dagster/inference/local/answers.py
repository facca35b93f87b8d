"""From a finished sequence, or an error, to the answer to its request."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dobby_dagster.domain.errors import DegenerateOutputError, InferenceError, OutOfMemoryError
from dobby_dagster.inference.engine import Answer, Failure, Generation, Request
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.models.model_folder import one_line
from dobby_dagster.inference.scoring.confidence import Calibration, OutputFeatures, confidence, is_copied
from dobby_dagster.inference.scoring.content_kind import kind_of
from dobby_dagster.inference.scoring.grounding import grounded_share

# Of torch, CUDA's driver, and MLX.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Attempting to allocate", "Unable to allocate")


def answer_of(
    sequence: Sequence, decode: Callable[[list[int]], str], stop: Iterable[str], calibration: Calibration | None
) -> Answer:
    """The text of a finished sequence up to the first stop text, and how far it can be trusted.

    >>> sequence = Sequence(Request("r0", "x = 1"), [5, 6])
    >>> sequence.output_ids, sequence.logprobs = [7, 8], [-0.5, -1.5]
    >>> answer = answer_of(sequence, lambda ids: f"Wrote {ids}. Next", stop=["Next"], calibration=None)
    >>> answer.text, answer.mean_logprob, answer.output_tokens
    ('Wrote [7, 8].', -1.0, 2)
    """
    request = sequence.request
    if not sequence.finite:
        return Failure(request.id, DegenerateOutputError("the model's output is not finite"))
    text = decode(sequence.output_ids)
    for each in stop:
        text = text.split(each, 1)[0]
    logprobs = sequence.logprobs or [0.0]
    features = OutputFeatures(
        mean_logprob=sum(logprobs) / len(logprobs),
        min_logprob=min(logprobs),
        tokens=len(sequence.output_ids),
        copied=is_copied(text, request.content),
        grounded=grounded_share(text, request.content),
        kind=kind_of(request.content, request.language),
    )
    return Generation(
        id=request.id,
        text=text.strip(),
        confidence=confidence(features, calibration),
        mean_logprob=features.mean_logprob,
        min_logprob=features.min_logprob,
        finish_reason=sequence.finish_reason,
        prompt_tokens=len(sequence.prompt_ids),
        output_tokens=features.tokens,
        truncated=sequence.truncated,
        seconds=sequence.seconds,
        slot_seconds=sequence.slot_seconds,
        queue_seconds=sequence.admitted_at - sequence.taken_at if sequence.admitted_at else None,
    )


def failure_of(request: Request, error: BaseException) -> Failure:
    """The answer to a request on which generation fails even alone."""
    if is_out_of_memory(error):
        return Failure(request.id, OutOfMemoryError("the record does not fit the device's memory, even alone"))
    return Failure(request.id, InferenceError(f"inference failed: {one_line(error)}"))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch, MLX or a driver means that memory ran out.

    >>> is_out_of_memory(RuntimeError("[metal::malloc] Attempting to allocate 48736917632 bytes which is greater …"))
    True
    """
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in _OUT_OF_MEMORY)
