"""How far a summary is to be trusted: a calibrated probability where the model brings one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from dobby_dagster.domain.errors import ModelError

_WORDS = re.compile(r"\w+")
# Characters of a content in which a copied sentence is looked for: documentation stands in front.
_LOOKED_AT = 20_000


@dataclass(frozen=True, slots=True)
class Signs:
    """What an output shows of how far it is to be trusted.

    Attributes:
        mean_logprob, min_logprob: Of its tokens, natural logarithm.
        tokens: How many.
        copied: Whether it stands in the content word for word.
    """

    mean_logprob: float
    min_logprob: float
    tokens: int
    copied: bool


class Calibration(BaseModel):
    """Logistic regression on the signs of an output (Platt 1999), fitted on projects that the model never saw.

    Attributes:
        meaning: What the confidence is the probability of.
        bias: The intercept.
        mean_logprob: Weight of the mean token log-probability.
        min_logprob: Weight of the least one.
        log_tokens: Weight of the logarithm of the number of output tokens.
        copied: Weight of the output standing in the content.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    meaning: str
    bias: FiniteFloat
    mean_logprob: FiniteFloat
    min_logprob: FiniteFloat
    log_tokens: FiniteFloat
    copied: FiniteFloat = 0.0

    def probability(self, signs: Signs) -> float:
        """The confidence in (0, 1) of an output that shows ``signs``."""
        score = self.bias + self.mean_logprob * signs.mean_logprob + self.min_logprob * signs.min_logprob
        score += self.log_tokens * math.log(max(1, signs.tokens)) + self.copied * signs.copied
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, score))))


def calibration_of(card: dict[str, Any], name: str) -> Calibration | None:
    """The calibration in a model's card; None where it has none.

    Raises:
        ModelError: What is there is malformed.
    """
    if "calibration" not in card:
        return None
    try:
        return Calibration.model_validate(card["calibration"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("calibration", *first["loc"]))
        raise ModelError(
            f"the card of model {name} is malformed: {where}: {first['msg']}", hint="mend or remove it in dobby.json"
        ) from None


def confidence(signs: Signs, calibration: Calibration | None) -> float:
    """The calibrated probability, or exp of the mean token log-probability where there is no calibration."""
    if calibration is not None:
        return calibration.probability(signs)
    return min(1.0, math.exp(signs.mean_logprob))


def is_copied(text: str, content: str) -> bool:
    """Whether the words of ``text`` stand in ``content`` one after another, as a sentence of documentation does.

    The first word may differ: a model that learned so begins with the verb where the documentation begins with a name.

    >>> is_copied("Reads a line of it.", "// Read reads a line of it. It never blocks.")
    True
    """
    given = _WORDS.findall(text.lower())[1:]
    found = _WORDS.findall(content[:_LOOKED_AT].lower())
    return len(given) >= 2 and f" {' '.join(given)} " in f" {' '.join(found)} "
