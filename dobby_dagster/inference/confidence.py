"""How far a summary is to be trusted: a calibrated probability where the model brings one."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from dobby_dagster.domain.errors import ModelError


class Calibration(BaseModel):
    """Logistic regression on an output's log-probabilities (Platt 1999), fitted on projects that the model never saw.

    Attributes:
        meaning: What the confidence is the probability of.
        bias: The intercept.
        mean_logprob: Weight of the mean token log-probability.
        min_logprob: Weight of the least one.
        log_tokens: Weight of the logarithm of the number of output tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    meaning: str
    bias: FiniteFloat
    mean_logprob: FiniteFloat
    min_logprob: FiniteFloat
    log_tokens: FiniteFloat

    def probability(self, mean_logprob: float, min_logprob: float, tokens: int) -> float:
        """The confidence in (0, 1) of an output of ``tokens`` tokens with these log-probabilities."""
        length = self.log_tokens * math.log(max(1, tokens))
        score = self.bias + self.mean_logprob * mean_logprob + self.min_logprob * min_logprob + length
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


def confidence(mean_logprob: float, min_logprob: float, tokens: int, calibration: Calibration | None) -> float:
    """The calibrated probability, or exp of the mean token log-probability where there is no calibration."""
    if calibration is not None:
        return calibration.probability(mean_logprob, min_logprob, tokens)
    return min(1.0, math.exp(mean_logprob))
