"""Whether an adapted model counts as better, and how its confidence is calibrated."""

from dataclasses import replace

import numpy as np
import pytest

from dobby_dagster.adaptation.comparison import BLEU, CHRF, COPIED, NAMES, Answers, compare, scores
from dobby_dagster.adaptation.documented_records import DocumentedRecord
from dobby_dagster.adaptation.recalibration import recalibrated
from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.inference.engine import Generation
from dobby_dagster.inference.scoring.confidence import Calibration, Weights
from dobby_dagster.ingest.documentation.documented_code import DocumentedCode
from dobby_dagster.pipeline.summarization.second_try import Attempt


def answer(text: str, logprob: float = -0.5) -> Attempt:
    return Attempt(Generation("0", text, 0.5, logprob, 2 * logprob, "stop", 20, 8, False, 0.1))


def records(count: int) -> list[DocumentedRecord]:
    parts = DocumentedCode(
        "def read(path):\n    return open(path)", '    """Read it."""\n', 16, "Read the file at path."
    )
    return [DocumentedRecord(f"{i}.py::f", f"{i}.py", "python", parts) for i in range(count)]


def test_a_summary_is_scored_against_the_sentence_and_a_refused_one_is_the_worst() -> None:
    good, other = answer("Read the file at path."), answer("Parse the RowReader.")
    refused = replace(good, error=DegenerateOutputError("no"))
    found = scores(records(4), Answers([good, other, refused, None], [good, other, refused, None]))
    assert found[BLEU][0] == found[CHRF][0] == found[COPIED][0] == 100
    assert 0 < found[BLEU][1] < 60
    assert found[BLEU][2:].tolist() == found[CHRF][2:].tolist() == [0, 0]
    assert found[NAMES].tolist() == [0, 100, 100, 100]
    assert found[COPIED].tolist() == [100, 0, 0, 0]


def some(seed: int = 1, **changed: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    means = {BLEU: 20.0, CHRF: 30.0, NAMES: 5.0, COPIED: 90.0}
    return {name: mean + changed.get(name, 0.0) + rng.normal(0, 1, 200) for name, mean in means.items()}


def test_better_is_more_than_the_noise_in_bleu_and_nothing_worse() -> None:
    base = some()
    assert compare(base, some(**{BLEU: 1.0})).better
    assert not compare(base, base).better
    assert not compare(base, some(**{CHRF: 1.0})).better
    assert not compare(base, some(**{BLEU: -1.0})).better
    for worse in ({COPIED: -1.0}, {NAMES: 1.0}, {CHRF: -1.0}):
        assert not compare(base, some(**{BLEU: 1.0} | worse)).better


def test_an_interval_holds_the_difference() -> None:
    found = compare(some(), some(2, **{BLEU: 2.0}))
    [bleu] = [each for each in found.differences if each.name == BLEU]
    assert bleu.low < 2.0 < bleu.high
    assert bleu.after - bleu.before == pytest.approx((bleu.low + bleu.high) / 2, abs=0.1)


def test_few_summaries_keep_the_calibration_of_the_base() -> None:
    few = [answer("Read the file at path.")] * 20
    assert recalibrated(records(20), Answers(few, few), None) is None


def test_a_new_calibration_orders_summaries_and_keeps_the_other_kinds() -> None:
    rng = np.random.default_rng(0)
    given = [float(value) for value in -2 * rng.random(200)]
    right = [bool(rng.random() < np.exp(value)) for value in given]
    attempts = [
        answer("Read the file at path." if good else "Close all of the open windows now.", value)
        for good, value in zip(right, given, strict=True)
    ]
    data = Weights(bias=1.0, mean_logprob=1.0, min_logprob=0.0, log_tokens=0.0)
    base = Calibration(bias=0, mean_logprob=1, min_logprob=0, log_tokens=0, meaning="x", kinds={"data": data})
    found = recalibrated(records(200), Answers(attempts, attempts), base)
    assert found is not None
    calibration, reliability = found
    assert calibration.kinds == {"data": data}
    assert reliability.count == 400
    assert reliability.error < 0.15
