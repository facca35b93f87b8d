"""The scores of the page that compares models, beside values of the libraries that define them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.inference.engine import Generation
from dobby_dagster.inference.scoring.text_overlap import chrf
from training.corpus.pair import Pair
from training.evaluation.answers import Answered
from training.evaluation.comparison import NOT_MEASURED, Contender, first_line, page
from training.evaluation.metrics import meteor, reciprocal_ranks

SENTENCES = st.text("abc .", max_size=30)


@pytest.mark.parametrize(
    ("reference", "candidate", "score"),
    [
        ("Return the sum of two numbers.", "Returns the sum of a and b.", 43.2384),
        ("Reads a file", "Read", 32.8792),
        ("abc", "xyz", 0.0),
        ("Close the connection.", "Close the connection.", 100.0),
        ("Gets the name of the user", "name", 15.9679),
    ],
)
def test_chrf_is_that_of_sacrebleu(reference: str, candidate: str, score: float) -> None:
    assert 100 * chrf(reference, candidate) == pytest.approx(score, abs=1e-3)


def test_meteor_prefers_recall_and_order() -> None:
    assert meteor("reads a file", "file a reads") < meteor("reads a file", "reads a file")
    assert meteor("reads a file", "reads a file of rows") > meteor("reads a file of rows", "reads a file")
    # Three of three words in one chunk: 1 - 0.5 (1/3)^3.
    assert meteor("a b c", "a b c") == pytest.approx(1 - 0.5 / 27)


@given(SENTENCES, SENTENCES)
def test_scores_lie_between_nothing_and_all(reference: str, candidate: str) -> None:
    for score in (chrf, meteor):
        assert 0.0 <= score(reference, candidate) <= 1.0 + 1e-9


@given(st.integers(1, 8), st.integers(0, 99))
def test_the_rank_of_a_document_is_counted_from_one(count: int, seed: int) -> None:
    similar = np.random.default_rng(seed).normal(size=(count, count))
    ranks = [1 + sum(other > row[place] for other in row) for place, row in enumerate(similar)]
    assert reciprocal_ranks(similar) == pytest.approx([1 / rank for rank in ranks])


def test_what_was_not_measured_is_shown_as_such() -> None:
    pair = Pair("a", "python", "function", "add", "def add(a, b):\n    return a + b\n", "Add two numbers.", 0, "")
    answer = Generation("0", "Add a RichServer.", 0.5, -0.5, -1.0, "stop", 10, 8, False, 0.0)
    answered = [Answered(pair, answer, refused=False)]
    model = Contender("`model`", [answer.text], answered, answered)
    text = page([model, Contender("first line", [first_line(pair)])], [pair], None)
    assert f"| first line | {NOT_MEASURED} | {NOT_MEASURED} | 100.0% | {NOT_MEASURED} |" in text
    assert "| `model` | 100.0% | 0.00% | 100.0% | 0.0% |" in text
    assert "| `model` | 0.500 (1) | 0.500 (1) | 0.500 (2) |" in text
