"""When an output is generated again, what it then should not have, and which of the two is kept.

One more try, with the same prompt and the same greedy choice of tokens: so the second output depends on the content and
the recipe only, as the first does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dobby_dagster.domain.errors import DegenerateOutputError, RecordError
from dobby_dagster.domain.settings import SecondTry
from dobby_dagster.inference.engine import Avoid, Generation
from dobby_dagster.inference.scoring.grounding import names_are_capitalised, unsupported_names
from dobby_dagster.pipeline.summarization.own_sentence import own_sentence
from dobby_dagster.pipeline.summarization.quality_gate import gate


@dataclass(frozen=True, slots=True)
class Attempt:
    """An output, and why the quality gate refuses it; None where it does not."""

    output: Generation
    error: RecordError | None = None

    @classmethod
    def of(cls, output: Generation, content: str, instruction: str) -> Attempt:
        """``output`` after the quality gate, see :func:`~.quality_gate.gate`.

        Of an output that is refused, the sentence of the content's documentation that it begins with is kept.
        """
        error = _refusal(output.text, content, instruction)
        if error is not None:
            sentence = own_sentence(output.text, content)
            if sentence is not None and _refusal(sentence, content, instruction) is None:
                return cls(replace(output, text=sentence, finish_reason="stop"))
        return cls(output, error)


def avoided(attempt: Attempt, content: str, when: SecondTry) -> Avoid | None:
    """What a second output should not have; None where the first is kept.

    Args:
        attempt: The first.
        content: That it summarizes.
        when: As in ``inference.second_try``.
    """
    if when == "never":
        return None
    text = attempt.output.text
    if attempt.error is not None:
        return Avoid(repeats=True, capitals=names_are_capitalised(text, content))
    if when == "ungrounded" and unsupported_names(text, content):
        return Avoid(capitals=names_are_capitalised(text, content))
    return None


def better(first: Attempt, second: Attempt, content: str) -> Attempt:
    """The attempt to keep, with the time and the tokens of both.

    The second is kept if the gate accepts it, it is a whole sentence, and all its names stand in the content.
    """
    text = second.output.text
    kept = second if second.error is None and text[-1] in ".!?" and not unsupported_names(text, content) else first
    one, other = first.output, second.output
    return replace(
        kept,
        output=replace(
            kept.output,
            prompt_tokens=_sum(one.prompt_tokens, other.prompt_tokens),
            output_tokens=_sum(one.output_tokens, other.output_tokens),
            seconds=one.seconds + other.seconds,
            slot_seconds=one.slot_seconds + other.slot_seconds,
            queue_seconds=one.queue_seconds,
        ),
    )


def _refusal(text: str, content: str, instruction: str) -> DegenerateOutputError | None:
    try:
        gate(text, content, instruction)
    except DegenerateOutputError as error:
        return error
    return None


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
