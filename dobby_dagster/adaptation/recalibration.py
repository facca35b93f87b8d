"""The confidence of the adapted model: calibrated again on the held-out functions, where they are enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dobby_dagster.adaptation.comparison import Answers
from dobby_dagster.adaptation.documented_records import DocumentedRecord
from dobby_dagster.inference.models.reliability import Reliability, reliability_bins
from dobby_dagster.inference.scoring.calibration_fit import MEANING, agrees, fit_weights
from dobby_dagster.inference.scoring.confidence import CALIBRATED, Calibration, OutputFeatures, Weights, is_copied
from dobby_dagster.inference.scoring.content_kind import kind_of
from dobby_dagster.inference.scoring.grounding import grounded_share
from dobby_dagster.pipeline.summarization.second_try import Attempt

# Summaries that a calibration needs, half of them without documentation; and how many of them have to agree, and how
# many not, in each half of the files.
LEAST, LEAST_OF_EACH = 240, 15
MEASURED_ON = (
    "held-out functions and classes of the project, once without and once with their documentation; each half by "
    "weights fitted to the other"
)


@dataclass(frozen=True, slots=True)
class _Output:
    file: str
    features: OutputFeatures
    agrees: bool


def recalibrated(
    records: Sequence[DocumentedRecord], answers: Answers, base: Calibration | None
) -> tuple[Calibration, Reliability] | None:
    """A calibration of code fitted to all summaries, and how far one fitted to half of the files holds on the others.

    Other kinds of content keep the weights that ``base`` has for them. None where the summaries are too few.
    """
    outputs = [*_outputs(records, answers.bare, bare=True), *_outputs(records, answers.documented, bare=False)]
    numbers = {file: number for number, file in enumerate(sorted({one.file for one in outputs}))}
    halves = [[one for one in outputs if numbers[one.file] % 2 == half] for half in (0, 1)]
    if len(outputs) < LEAST or any(_too_few(group) for group in halves):
        return None
    given: list[float] = []
    true: list[bool] = []
    for fitted, measured in (halves, halves[::-1]):
        weights = _fitted(fitted)
        given += [weights.probability(one.features) for one in measured]
        true += [one.agrees for one in measured]
    reliability = Reliability(measured_on=MEASURED_ON, bins=tuple(reliability_bins(given, true)))
    kinds = base.kinds if base else {}
    return Calibration(meaning=MEANING, kinds=kinds, **_fitted(outputs).model_dump()), reliability


def _fitted(outputs: Sequence[_Output]) -> Weights:
    return fit_weights([one.features for one in outputs], [one.agrees for one in outputs])


def _too_few(outputs: Sequence[_Output]) -> bool:
    agreeing = sum(one.agrees for one in outputs)
    return min(agreeing, len(outputs) - agreeing) < LEAST_OF_EACH


def _outputs(
    records: Sequence[DocumentedRecord], attempts: Sequence[Attempt | None], *, bare: bool
) -> Iterator[_Output]:
    for record, attempt in zip(records, attempts, strict=True):
        written = attempt.output if attempt else None
        if written is None or written.mean_logprob is None or written.min_logprob is None or not written.output_tokens:
            continue
        content = record.parts.code if bare else record.parts.documented
        if kind_of(content, record.language) != CALIBRATED:
            continue
        features = OutputFeatures(
            written.mean_logprob,
            written.min_logprob,
            written.output_tokens,
            is_copied(written.text, content),
            grounded_share(written.text, content),
        )
        yield _Output(record.file, features, agrees(record.parts.sentence, written.text))
