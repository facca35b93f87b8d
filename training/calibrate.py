"""Fit what the confidence means, on the validation projects, and store it in the model's card.

    python -m training.calibrate --model build/run/model --corpus build/corpus

Confidence is the probability that the summary agrees with its author's sentence: that their ROUGE-L F1 is at least
one half. Platt scaling (Platt 1999) over the mean and the least log-probability of the output, its length, and whether
it stands in the content; each pair counts twice, without its documentation and with it, as records have it or have it
not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from dobby_dagster.inference.confidence import Calibration, Signs, is_copied
from dobby_dagster.inference.model_folder import CARD
from training.corpus.pair import read
from training.evaluation.answers import Answered, answers, sample, with_documentation
from training.evaluation.metrics import rouge_l

AGREES = 0.5
MEANING = "the probability that the summary agrees with its author's sentence (ROUGE-L F1 of 0.5 or more)"
LANGUAGES = ("python", "go", "rust", "javascript", "typescript", "java", "c", "cpp", "markdown")


def agrees(answered: Answered) -> bool:
    """Whether a summary agrees with its author's sentence."""
    return rouge_l(answered.pair.summary, answered.answer.text) >= AGREES


def signs(answered: Answered) -> Signs:
    """What an answer shows, as the engine sees it."""
    answer = answered.answer
    copied = is_copied(answer.text, answered.pair.code)
    return Signs(answer.mean_logprob, answer.min_logprob, answer.output_tokens, copied)


def fit(answered: Sequence[Answered]) -> Calibration:
    """The calibration that maximises the likelihood of what agreed and what did not."""
    rows = [
        (a.answer.mean_logprob, a.answer.min_logprob, np.log(max(1, a.answer.output_tokens)), signs(a).copied)
        for a in answered
    ]
    regression = LogisticRegression(C=np.inf, max_iter=1_000).fit(np.array(rows), [agrees(a) for a in answered])
    mean, least, tokens, copied = (round(float(weight), 4) for weight in regression.coef_[0])
    bias = round(float(regression.intercept_[0]), 4)
    return Calibration(
        meaning=MEANING, bias=bias, mean_logprob=mean, min_logprob=least, log_tokens=tokens, copied=copied
    )


def main() -> None:
    """Parse the command line, fit, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("build/run/model"))
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--count", type=int, default=400, help="pairs of a language, with and without documentation")
    arguments = parser.parse_args()
    chosen = sample(read(arguments.corpus / "validation.jsonl"), LANGUAGES, arguments.count)
    pairs = [pair for group in chosen.values() for pair in group]
    calibration = fit(answers(arguments.model, [*pairs, *with_documentation(pairs)]))
    card = json.loads((arguments.model / CARD).read_text())
    card["calibration"] = calibration.model_dump()
    (arguments.model / CARD).write_text(json.dumps(card, indent=2) + "\n")
    print(calibration.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
