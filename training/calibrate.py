"""Fit what the confidence means, on the validation projects, and store it in the model's card.

    python -m training.calibrate --model build/run/model --corpus build/corpus

Confidence is the probability that the summary agrees with its author's sentence: that their ROUGE-L F1 is at least
one half. Platt scaling (Platt 1999) over the mean and the least log-probability of the output, its length, and whether
it and its words stand in the content; each pair counts twice, without its documentation and with it, as records have
it or have it not. Counted is what a run would store: after the second try, without what the quality gate refuses. Code
has weights of its own, and so has each other kind of content (``kinds.validation.jsonl``); a kind that the corpus has
not keeps the weights that the card has.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.scoring import calibration_fit
from dobby_dagster.inference.scoring.calibration_fit import MEANING, fit_weights
from dobby_dagster.inference.scoring.confidence import (
    CALIBRATED,
    Calibration,
    OutputFeatures,
    Weights,
    calibration_of,
    is_copied,
)
from dobby_dagster.inference.scoring.content_kind import kind_of
from dobby_dagster.inference.scoring.grounding import grounded_share
from training.corpus.pair import read
from training.evaluation.answers import MADE_UP, Answered, answers, as_records, sample, sample_kinds

# Answers that a kind of content needs for weights of its own.
LEAST = 60
LANGUAGES = ("python", "go", "rust", "javascript", "typescript", "java", "c", "cpp", "markdown")


def agrees(answered: Answered) -> bool:
    """Whether a summary agrees with its author's sentence."""
    return calibration_fit.agrees(answered.pair.summary, answered.answer.text)


def features(answered: Answered) -> OutputFeatures:
    """What an answer shows, as the engine sees it."""
    answer, content = answered.answer, answered.pair.code
    if answer.mean_logprob is None or answer.min_logprob is None or answer.output_tokens is None:
        raise ValueError("calibration needs the log-probabilities of a local engine")
    return OutputFeatures(
        answer.mean_logprob,
        answer.min_logprob,
        answer.output_tokens,
        is_copied(answer.text, content),
        grounded_share(answer.text, content),
        kind_of(content, answered.pair.language),
    )


def fit(answered: Sequence[Answered]) -> Calibration:
    """The calibration that maximises the likelihood of what agreed and what did not: of code, and of each other kind.

    A kind with fewer than ``LEAST`` answers, or where all agreed or none, has no weights: its confidence is unknown.
    """
    by_kind: dict[str | None, list[Answered]] = defaultdict(list)
    for one in answered:
        by_kind[features(one).kind].append(one)
    kinds = {
        kind: _weights(group)
        for kind, group in sorted(by_kind.items(), key=lambda item: str(item[0]))
        if kind not in (None, CALIBRATED) and len(group) >= LEAST and len({agrees(one) for one in group}) == 2
    }
    return Calibration(meaning=MEANING, kinds=kinds, **_weights(by_kind[CALIBRATED]).model_dump())


def _weights(answered: Sequence[Answered]) -> Weights:
    return fit_weights([features(one) for one in answered], [agrees(one) for one in answered])


def main() -> None:
    """Parse the command line, fit, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("build/run/model"))
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--count", type=int, default=400, help="pairs of a language, with and without documentation")
    arguments = parser.parse_args()
    chosen = sample(read(arguments.corpus / "validation.jsonl"), LANGUAGES, arguments.count)
    pairs = [pair for group in chosen.values() for pair in group]
    kinds = arguments.corpus / "kinds.validation.jsonl"
    if kinds.exists():
        # Contents that are made up say how well their rule was learned, and nothing of those that people have.
        real = [pair for pair in read(kinds) if not pair.project.startswith(MADE_UP)]
        pairs += [pair for group in sample_kinds(real, arguments.count).values() for pair in group]
    kept = [one for one in answers(arguments.model, as_records(pairs)) if not one.refused]
    card = json.loads((arguments.model / CARD).read_text())
    before = calibration_of(card, arguments.model.name)
    calibration = fit(kept)
    calibration = calibration.model_copy(update={"kinds": (before.kinds if before else {}) | calibration.kinds})
    card["calibration"] = calibration.model_dump()
    (arguments.model / CARD).write_text(json.dumps(card, indent=2) + "\n")
    print(calibration.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
