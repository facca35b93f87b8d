"""Confidence: calibrated where the model brings a calibration, and never out of (0, 1]."""

import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.inference.scoring.confidence import OutputFeatures, calibration_of, confidence, is_copied
from dobby_dagster_tests.helpers.checkpoints import make_checkpoint

CARD = {
    "calibration": {
        "meaning": "m",
        "bias": 1.0,
        "mean_logprob": 2.0,
        "min_logprob": 0.5,
        "log_tokens": -0.25,
        "copied": 0.75,
    }
}


def test_without_a_calibration_it_is_exp_of_the_mean() -> None:
    assert calibration_of({}, "m") is None
    assert confidence(OutputFeatures(-0.5, -3.0, 9, False), None) == pytest.approx(math.exp(-0.5))


def test_with_one_it_is_a_logistic_regression() -> None:
    score = 1.0 + 2.0 * -0.5 + 0.5 * -3.0 - 0.25 * math.log(9)
    calibration = calibration_of(CARD, "m")
    assert confidence(OutputFeatures(-0.5, -3.0, 9, False), calibration) == pytest.approx(1 / (1 + math.exp(-score)))
    assert confidence(OutputFeatures(-0.5, -3.0, 9, True), calibration) == pytest.approx(
        1 / (1 + math.exp(-score - 0.75))
    )


@given(st.floats(-1e6, 0), st.floats(-1e6, 0), st.integers(0, 4_096), st.booleans())
def test_it_is_a_probability_whatever_the_output(mean: float, least: float, tokens: int, copied: bool) -> None:
    for calibration in (None, calibration_of(CARD, "m")):
        assert 0.0 <= confidence(OutputFeatures(mean, least, tokens, copied), calibration) <= 1.0


@pytest.mark.parametrize(
    ("calibration", "says"),
    [
        ({"meaning": "m"}, "bias"),
        (CARD["calibration"] | {"bias": "high"}, "calibration.bias"),
        (CARD["calibration"] | {"bias": math.nan}, "calibration.bias"),
        (CARD["calibration"] | {"more": 1}, "calibration.more"),
        ([1, 2], "calibration"),
    ],
)
def test_a_malformed_calibration_is_named(calibration: object, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        calibration_of({"calibration": calibration}, "small")
    assert "small" in str(caught.value)


def test_the_engine_uses_the_calibration_of_its_model(tmp_path: Path) -> None:
    plain = make_checkpoint(tmp_path / "plain")
    calibrated = tmp_path / "calibrated"
    shutil.copytree(plain, calibrated)
    (calibrated / "dobby.json").write_text(
        '{"calibration": {"meaning": "m", "bias": 50, "mean_logprob": 0, "min_logprob": 0, "log_tokens": 0}}'
    )
    prompt = PromptLibrary.load().get("summary")
    found = []
    for folder in (plain, calibrated):
        engine = LocalEngine(check_folder(folder), ModelSettings(), InferenceSettings(max_new_tokens=4))
        (answer,) = engine.infer([Request("a", "def f(): pass", "python")], prompt)
        assert isinstance(answer, Generation)
        found.append(answer)
    assert found[0].text == found[1].text
    assert found[0].confidence == pytest.approx(math.exp(found[0].mean_logprob))
    assert found[1].confidence == pytest.approx(1.0)


def test_a_malformed_card_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    (folder / "dobby.json").write_text('{"calibration": {"bias": 1}}')
    with pytest.raises(ModelError, match="calibration.mean"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("text", "content", "copied"),
    [
        ("Return the name of it.", 'def f():\n    """Return the name of it."""', True),
        ("Returns the name of it.", "/// Returns the name\n/// of it.\nfn f() {}", True),
        ("Reads a line of it.", "// Read reads a line of it.", True),
        ("Return the name.", "def name(self): return self._name", False),
        ("Return.", "Return.", False),
        ("", "x", False),
        ("Return the names of it.", "the names of item", False),
    ],
)
def test_a_copied_sentence_is_seen_through_line_breaks_and_comment_marks(text: str, content: str, copied: bool) -> None:
    assert is_copied(text, content) is copied
