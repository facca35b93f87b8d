"""How the built-in model is made: pairs, the score, and a run that can be stopped anywhere."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from training import train
from training.corpus import Pair, documented, first_sentence, near_key, pairs_of_source
from training.evaluate import interval, name_words, smoothed_bleu
from training.prepare import pack, train_tokenizer

SOURCE = '''
class A:
    def plain(self, x):
        """Return the sum of x and the limit.

        More about it.
        """
        return x + self.limit + 1000

    def short(self):
        """Too short."""
        return 1

@cache
def top(path):
    """Read the file at :class:`~os.path` and return its lines."""
    with open(path) as stream:
        return stream.readlines()
'''


def test_pairs_are_the_code_without_its_docstring_and_the_first_sentence() -> None:
    pairs = {pair.summary: pair for pair in pairs_of_source("p", SOURCE)}
    assert set(pairs) == {"Return the sum of x and the limit.", "Read the file at os.path and return its lines."}
    first = pairs["Return the sum of x and the limit."]
    assert first.code == "def plain(self, x):\n    return x + self.limit + 1000"
    assert documented(first) == (
        'def plain(self, x):\n    """Return the sum of x and the limit.\n\n    More about it.\n    """\n'
        "    return x + self.limit + 1000"
    )
    assert list(pairs_of_source("p", "def broken(")) == []
    assert documented(Pair("p", "def cut(a,", "", "")) is None


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the name. And more.", "Return the name."),
        ("Return the\n    name of it\n\n    Details.", "Return the name of it."),
        ("Deprecated: use that one instead.", None),
        ("See https://example.org for it.", None),
        ("x : int, the first one of them", None),
        ("Gibt den Namen zurück und mehr.", None),
        ("Short.", None),
    ],
)
def test_first_sentences(docstring: str, sentence: str | None) -> None:
    assert first_sentence(docstring) == sentence


def test_near_copies_have_one_key() -> None:
    one = Pair("p", "def f(a1):\n    return A1", "", "Return it.")
    other = Pair("q", "def f(a2):\n\n    return a2", "", "Return it.")
    assert near_key(one) == near_key(other)


def test_smoothed_bleu_is_one_for_equals_and_falls() -> None:
    text = "Return the name of the file."
    assert smoothed_bleu(text, text) == pytest.approx(1.0)
    near, far = smoothed_bleu(text, "Return the name of the folder."), smoothed_bleu(text, "Parse a header.")
    assert 1 > near > far > 0
    # By hand: 2 of 3 words, (1+1)/(2+1) of the pairs, (0+1)/(1+1) of the triples, 1/1 of the rest, as long as wanted.
    assert smoothed_bleu("a b c", "a b d") == pytest.approx((2 / 3 * 2 / 3 * 1 / 2 * 1) ** 0.25)
    mean, low, high = interval([0.0, 1.0] * 50)
    assert low < mean == 0.5 < high
    assert name_words(Pair("p", "def getHTTPName_2(x): pass", "", "")) == "get http name 2."


def test_a_run_that_is_stopped_ends_as_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [
        Pair("p", f"def add_{i}(a, b):\n    return a + b + {i}", "", f"Add two numbers and {i}.") for i in range(40)
    ]
    tokenizer = train_tokenizer(pairs, vocabulary=300)
    data = tmp_path / "packed"
    data.mkdir()
    tokenizer.save_pretrained(data / "tokenizer")
    for role in ("train", "validation"):
        np.savez(data / f"{role}.npz", **pack(pairs, tokenizer, seed=0))
    monkeypatch.setattr(train, "SECONDS_BETWEEN_CHECKPOINTS", 0)

    def arguments(out: str) -> argparse.Namespace:
        return argparse.Namespace(
            data=data,
            out=tmp_path / out,
            steps=8,
            decay=0.5,
            batch=8,
            rate=2e-3,
            hidden=64,
            layers=1,
            seed=0,
            device="cpu",
        )

    train.Training(arguments("whole")).run()
    update = train.Training._update

    def stopped(self: train.Training, batch: train.Batch) -> None:
        if self.step == 3:
            raise KeyboardInterrupt
        update(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Training, "_update", stopped)
        train.Training(arguments("stopped")).run()
    resumed = train.Training(arguments("stopped"))
    assert resumed.step == 3
    resumed.run()
    one, other = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"] for name in ("whole", "stopped")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "stopped" / "model" / "dobby.json").exists()
    assert [train.learning_rate(step, 1_000, 0.5) for step in (0, 199, 400, 750, 1_000)] == [1 / 200, 1, 1, 0.5, 0]
