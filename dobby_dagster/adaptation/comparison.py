"""Whether the adapted model is better than its base on the same held-out functions, by more than the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dobby_dagster.adaptation.documented_records import DocumentedRecord
from dobby_dagster.inference.scoring.grounding import unsupported_names
from dobby_dagster.inference.scoring.text_overlap import chrf, smoothed_bleu
from dobby_dagster.pipeline.summarization.second_try import Attempt

ROUNDS = 2_000
BLEU, CHRF, NAMES, COPIED = "BLEU-4", "chrF", "names not in the content", "documentation kept word for word"
# Whether more is better.
_DIRECTION = {BLEU: 1, CHRF: 1, NAMES: -1, COPIED: 1}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model writes for the held-out functions, in their order; None where inference failed.

    Attributes:
        bare: Without their documentation.
        documented: With it.
    """

    bare: Sequence[Attempt | None]
    documented: Sequence[Attempt | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure of both models, in percent.

    Attributes:
        name: Of the measure.
        before, after: Means of the base and of the adapted model.
        low, high: The 95 % interval of ``after - before``: bootstrap over functions, each with both its answers.
    """

    name: str
    before: float
    after: float
    low: float
    high: float

    @property
    def better(self) -> bool:
        """Better by more than the noise."""
        return self.low > 0 if _DIRECTION[self.name] > 0 else self.high < 0

    @property
    def worse(self) -> bool:
        """Worse by more than the noise."""
        return self.high < 0 if _DIRECTION[self.name] > 0 else self.low > 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """All measures on the held-out functions.

    Attributes:
        functions: How many they are.
        differences: BLEU-4 and chrF against the author's sentence and the share of summaries with a name that is not
            in the content, without documentation; and with it, the share that is its first sentence word for word.
    """

    functions: int
    differences: tuple[Difference, ...]

    @property
    def better(self) -> bool:
        """BLEU-4 is better by more than the noise, and nothing is worse by more than that."""
        named = {each.name: each for each in self.differences}
        return named[BLEU].better and not any(each.worse for each in self.differences)


def scores(records: Sequence[DocumentedRecord], answers: Answers) -> dict[str, np.ndarray]:
    """By measure, a score in percent for each function; a summary that failed or was refused has the worst."""
    bare = [_text(one) for one in answers.bare]
    kept = [_text(one) for one in answers.documented]
    wanted = [record.parts.sentence for record in records]
    codes = [record.parts.code for record in records]
    found: Mapping[str, Sequence[float | bool]] = {
        BLEU: [smoothed_bleu(sentence, text) if text else 0.0 for sentence, text in zip(wanted, bare, strict=True)],
        CHRF: [chrf(sentence, text) if text else 0.0 for sentence, text in zip(wanted, bare, strict=True)],
        NAMES: [not text or bool(unsupported_names(text, code)) for text, code in zip(bare, codes, strict=True)],
        COPIED: [text == sentence for sentence, text in zip(wanted, kept, strict=True)],
    }
    return {name: 100 * np.asarray(values, dtype=float) for name, values in found.items()}


def compare(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Comparison:
    """The differences of two models' scores on the same functions."""
    count = len(before[BLEU])
    drawn = np.random.default_rng(0).integers(0, count, (ROUNDS, count))
    differences = []
    for name in _DIRECTION:
        means = np.sort((after[name] - before[name])[drawn].mean(1))
        low, high = means[round(ROUNDS * 0.025)], means[round(ROUNDS * 0.975) - 1]
        means_of_both = float(before[name].mean()), float(after[name].mean())
        differences.append(Difference(name, *means_of_both, float(low), float(high)))
    return Comparison(count, tuple(differences))


def _text(attempt: Attempt | None) -> str:
    return "" if attempt is None or attempt.error is not None else attempt.output.text
