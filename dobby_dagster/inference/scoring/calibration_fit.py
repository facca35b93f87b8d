"""Fits the weights of a confidence to summaries of which is known whether they agree with their authors' sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dobby_dagster.inference.scoring.confidence import OutputFeatures, Weights
from dobby_dagster.inference.scoring.text_overlap import rouge_l

AGREES = 0.5
MEANING = "the probability that the summary agrees with its author's sentence (ROUGE-L F1 of 0.5 or more)"
# The inverse of the strength of regularisation.
_STRENGTH = 10.0
_ROUNDS = 100


def agrees(sentence: str, summary: str) -> bool:
    """Whether a summary agrees with its author's sentence."""
    return rouge_l(sentence, summary) >= AGREES


def fit_weights(outputs: Sequence[OutputFeatures], agreeing: Sequence[bool]) -> Weights:
    """Logistic regression (Platt 1999) with a penalty on all weights but the bias, by Newton's method.

    Args:
        outputs: In any number; the kind of their contents is not looked at.
        agreeing: Of each output, whether it agrees with the author's sentence; some do, and some don't.
    """
    rows = [
        (one.mean_logprob, one.min_logprob, np.log(max(1, one.tokens)), one.copied, one.grounded) for one in outputs
    ]
    inputs = np.column_stack([np.ones(len(rows)), np.array(rows, dtype=float)])
    wanted = np.array(agreeing, dtype=float)
    penalty = np.diag([0.0, *[1.0] * (inputs.shape[1] - 1)])
    found = np.zeros(inputs.shape[1])
    value = _loss(found, inputs, wanted, penalty)
    for _ in range(_ROUNDS):
        given = 1 / (1 + np.exp(-np.clip(inputs @ found, -500, 500)))
        gradient = _STRENGTH * inputs.T @ (given - wanted) + penalty @ found
        curvature = _STRENGTH * (inputs.T * (given * (1 - given))) @ inputs + penalty
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        share = 1.0
        while share > 1e-6 and _loss(found - share * step, inputs, wanted, penalty) > value:
            share /= 2
        found = found - share * step
        before, value = value, _loss(found, inputs, wanted, penalty)
        if before - value < 1e-9 * max(1.0, before):
            break
    names = ("bias", "mean_logprob", "min_logprob", "log_tokens", "copied", "grounded")
    return Weights(**{name: round(float(weight), 4) for name, weight in zip(names, found, strict=True)})


def _loss(weights: np.ndarray, inputs: np.ndarray, wanted: np.ndarray, penalty: np.ndarray) -> float:
    scores = inputs @ weights
    return float(_STRENGTH * (np.logaddexp(0, scores) - wanted * scores).sum() + weights @ penalty @ weights / 2)
