"""The confidence in a summary: a calibrated probability where the model has a calibration."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from dobby_dagster.domain.errors import ModelError

_WORDS = re.compile(r"\w+")
# A copied sentence is searched in this many characters: documentation stands at the beginning.
_LOOKED_AT = 20_000
# The kind of content that a calibration is for unless it names others.
CALIBRATED = "code"


@dataclass(frozen=True, slots=True)
class OutputFeatures:
    """What the confidence in an output is computed from.

    Attributes:
        mean_logprob, min_logprob: Of its tokens, natural logarithms.
        tokens: Their number.
        copied: Whether the content contains the output word for word.
        grounded: Share of the output's words that the content contains, in [0, 1].
        kind: Of the content, see :func:`~dobby_dagster.inference.scoring.content_kind.kind_of`; None where unknown.
    """

    mean_logprob: float
    min_logprob: float
    tokens: int
    copied: bool
    grounded: float = 1.0
    kind: str | None = CALIBRATED


class Weights(BaseModel):
    """Logistic regression on the features of an output (Platt 1999).

    Attributes:
        bias: The intercept.
        mean_logprob: Weight of the mean token log-probability.
        min_logprob: Weight of the smallest one.
        log_tokens: Weight of the logarithm of the number of output tokens.
        copied: Weight of whether the content contains the output.
        grounded: Weight of the share of its words that the content contains.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bias: FiniteFloat
    mean_logprob: FiniteFloat
    min_logprob: FiniteFloat
    log_tokens: FiniteFloat
    copied: FiniteFloat = 0.0
    grounded: FiniteFloat = 0.0

    def probability(self, features: OutputFeatures) -> float:
        """The confidence in (0, 1); the kind of content is not looked at.

        >>> weights = Weights(bias=0.5, mean_logprob=1.0, min_logprob=0.0, log_tokens=0.0)
        >>> weights.probability(OutputFeatures(-0.5, -2.0, tokens=9, copied=False))
        0.5
        """
        score = self.bias + self.mean_logprob * features.mean_logprob + self.min_logprob * features.min_logprob
        score += self.log_tokens * math.log(max(1, features.tokens)) + self.copied * features.copied
        score += self.grounded * features.grounded
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, score))))


class Calibration(Weights):
    """Weights by kind of content, fitted on projects that the model was not trained on.

    Attributes:
        meaning: The event whose probability the confidence is, in words.
        kinds: Weights for contents of other kinds than code, by kind. The confidence is unknown for kinds without
            weights, on which it was not measured.
    """

    meaning: str
    kinds: dict[str, Weights] = {}

    def weights_of(self, kind: str | None) -> Weights | None:
        """The weights for contents of ``kind``; None where there are none."""
        return self if kind == CALIBRATED else self.kinds.get(kind) if kind is not None else None


def calibration_of(card: dict[str, Any], name: str) -> Calibration | None:
    """The calibration in a model's card; None where it has none.

    Raises:
        ModelError: It is malformed.
    """
    if "calibration" not in card:
        return None
    try:
        return Calibration.model_validate(card["calibration"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("calibration", *first["loc"]))
        raise ModelError(
            f"the card of model {name} is malformed: {where}: {first['msg']}", hint="fix or remove it in dobby.json"
        ) from None


def confidence(features: OutputFeatures, calibration: Calibration | None) -> float | None:
    """The calibrated probability, or exp of the mean token log-probability where there is no calibration.

    None (unknown) where the calibration was not measured on the content's kind.

    >>> confidence(OutputFeatures(-0.5, -2.0, tokens=9, copied=False), None)
    0.6065306597126334
    """
    if calibration is not None:
        weights = calibration.weights_of(features.kind)
        return None if weights is None else weights.probability(features)
    return min(1.0, math.exp(features.mean_logprob))


def is_copied(text: str, content: str) -> bool:
    """Whether ``content`` contains the words of ``text`` in sequence, as a sentence of documentation would be.

    The first word may differ: models begin with the verb where documentation begins with the name.

    >>> is_copied("Reads a line of it.", "// Read reads a line of it. It never blocks.")
    True
    """
    given = _WORDS.findall(text.lower())[1:]
    found = _WORDS.findall(content[:_LOOKED_AT].lower())
    return len(given) >= 2 and f" {' '.join(given)} " in f" {' '.join(found)} "
