"""How the built-in model is trained, scored and calibrated, and a run that can be stopped anywhere."""

import argparse
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import Qwen2ForCausalLM

from dobby_dagster.inference.models.reliability import read_reliability
from dobby_dagster.inference.scoring.text_overlap import interval, rouge_l, smoothed_bleu
from dobby_dagster_tests.helpers.pairs import PYTHON, pair
from training import train
from training.calibrate import features, fit
from training.corpus.functions import pairs_of_file, records_of_file
from training.corpus.pair import Pair
from training.evaluation.answers import Answered, answers, sample, with_documentation
from training.evaluation.baselines import name_words, nearest_summaries
from training.evaluation.metrics import calibration_error
from training.evaluation.oddities import ODDITIES
from training.evaluation.report import evaluation, kinds_table, records_page, samples_page
from training.model import build_model, load_weights, matrix_attention
from training.packing import Batch, Packed, exchanged, is_copied, kinds_of_tokens, pack, repeats, texts
from training.tokenizer import CAPITAL, JOINED, train_tokenizer

TOKENIZER = train_tokenizer([pair("def add_numbers(a): return addNumbers(a)", "Add the numbers.")], 300)
MODEL = Path(__file__).parents[2] / "models" / "dobby-code-11m"


def test_scores_are_one_for_equals_and_fall() -> None:
    text = "Return the name of the file."
    for score in (smoothed_bleu, rouge_l):
        assert score(text, text) == pytest.approx(1.0)
        near, far = score(text, "Return the name of the folder."), score(text, "Parse a header.")
        assert 1 > near > far >= 0
    # By hand: 2 of 3 words, (1+1)/(2+1) of the pairs, (0+1)/(1+1) of the triples, 1/1 of the rest, as long as wanted.
    assert smoothed_bleu("a b c", "a b d") == pytest.approx((2 / 3 * 2 / 3 * 1 / 2 * 1) ** 0.25)
    assert rouge_l("a b c d", "a c x") == pytest.approx(2 * 2 / 7)
    assert rouge_l("a b", "") == 0
    mean, low, high = interval([0.0, 1.0] * 50)
    assert low < mean == 0.5 < high
    assert calibration_error([0.25] * 4 + [0.95] * 20, [True] + [False] * 3 + [True] * 19 + [False]) == pytest.approx(0)
    assert calibration_error([0.9] * 10, [False] * 10) == pytest.approx(0.9)


def test_baselines() -> None:
    assert name_words(pair(name="Reader.getHTTPName_2#3")) == "get http name 2."
    train_pairs = [
        pair("def read_file(path):\n    return open(path).read()", "Read a file."),
        pair("def add(a, b): pass", "Add."),
    ]
    assert nearest_summaries(train_pairs, [pair("def read_all(path, file): ...")]) == ["Read a file."]


def tiny_run(folder: Path) -> tuple[Path, argparse.Namespace]:
    pairs = [pair(f"def add_{i}(a, b):\n    return a + b + {i}", f"Add two numbers and {i}.") for i in range(40)]
    tokenizer = train_tokenizer(pairs, vocabulary=300)
    data = folder / "packed"
    data.mkdir()
    tokenizer.save_pretrained(data / "tokenizer")
    for role in ("train", "validation"):
        np.savez(data / f"{role}.npz", **pack(pairs, tokenizer, seed=0))
    settings = {
        "steps": 8,
        "decay": 0.5,
        "batch": 8,
        "rate": 2e-3,
        "hidden": 64,
        "layers": 1,
        "seed": 0,
        "weights": None,
    }
    return data, argparse.Namespace(data=data, device="cpu", compile=False, **settings)


def test_a_batch_has_loss_on_the_whole_summary_and_some_of_the_code(tmp_path: Path) -> None:
    data, _ = tiny_run(tmp_path)
    packed = Packed(data / "train.npz")
    batches = list(packed.epoch(8, seed=1))
    assert sum(len(batch.ids) for batch in batches) == 40
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(batches, packed.epoch(8, seed=1), strict=True))
    wanted = int((packed.lengths - packed.starts).sum())
    assert sum(int((batch.weights == 1.0).sum()) for batch in batches) == wanted
    for batch in batches:
        assert torch.equal(batch.ids.reshape(-1)[batch.positions + 1], batch.targets)
    assert len(Packed(data / "train.npz", most=10).members) == 10


@given(st.lists(st.integers(0, 49), min_size=4, max_size=60), st.integers(1, 49), st.integers(0, 99))
def test_a_token_of_the_summary_is_exchanged_for_one_of_its_kind_wherever_it_stands(
    ids: list[int], begin: int, seed: int
) -> None:
    tokens, kinds, start = np.array(ids, dtype=np.uint16), np.arange(50) % 3, min(begin, len(ids) - 2)
    changed = exchanged(tokens, start, kinds, np.random.default_rng(seed))
    assert changed.dtype == tokens.dtype
    assert np.array_equal(kinds[changed], kinds[tokens])
    assert len(set(zip(tokens.tolist(), changed.tolist(), strict=True))) == len(set(ids))
    assert set(tokens[changed != tokens]) <= {token for token in ids[start:-1] if kinds[token]}


def test_what_stands_in_the_code_is_copied_with_any_tokens(tmp_path: Path) -> None:
    code = "def read_rows(path):\n    return path.read()"
    sentences = [f"Read all rows of number {i}, and never a row of another number." for i in range(40)]
    pairs = [Pair("p", "python", "function", "f", code, f'"""{line}"""\n', 21, line) for line in sentences]
    tokenizer = train_tokenizer(pairs, 340)
    np.savez(tmp_path / "train.npz", **pack(pairs, tokenizer, seed=0))
    kinds = kinds_of_tokens(tokenizer)
    known = tokenizer.get_vocab()
    assert [kinds[known[token]] for token in ("<|end|>", ".", "Ġread", "r", "Ġnumber")] == [0, 0, 1, 2, 1]
    plain, some = Packed(tmp_path / "train.npz"), Packed(tmp_path / "train.npz", kinds)
    copied = [
        is_copied(plain.tokens[begin:end], start)
        for begin, end, start in zip(plain.offsets[:-1], plain.offsets[1:], plain.starts, strict=True)
    ]
    assert 0 < sum(copied) == len(copied) - 40
    members = np.flatnonzero(copied)
    one, other = (each.batch(members, np.random.default_rng(0)) for each in (plain, some))
    rows = (one.ids != other.ids).any(dim=1)
    assert 0 < rows.sum() < len(rows)
    for row, member in zip(other.ids.numpy(), members, strict=True):
        tokens = row[: plain.lengths[member]]
        assert is_copied(tokens, plain.starts[member])
    loss = torch.zeros(other.ids.numel()).index_put_((other.positions,), other.weights).reshape(other.ids.shape)
    for row, member in zip(np.flatnonzero(rows), members[rows.numpy()], strict=True):
        assert loss[row].nonzero().min() == plain.starts[member] - 1


def test_a_run_that_is_stopped_ends_as_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, settings = tiny_run(tmp_path)
    monkeypatch.setattr(train, "SECONDS_BETWEEN_CHECKPOINTS", 0)

    def arguments(out: str) -> argparse.Namespace:
        return argparse.Namespace(out=tmp_path / out, **vars(settings))

    train.Training(arguments("whole")).run()
    update = train.Training._update

    def stopped(self: train.Training, batch: Batch) -> None:
        if self.step == 3:
            raise KeyboardInterrupt
        update(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Training, "_update", stopped)
        train.Training(arguments("stopped")).run()
    resumed = train.Training(arguments("stopped"))
    assert resumed.step == 3
    resumed.run()
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "stopped"))
    for part in ("model", "average"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
    assert (tmp_path / "stopped" / "model" / "dobby.json").exists()
    assert torch.load(tmp_path / "whole" / "before-decay.pt", weights_only=True)["step"] == 4
    assert [train.learning_rate(step, 1_000, 0.5) for step in (0, 199, 400, 750, 1_000)] == [1 / 200, 1, 1, 0.5, 0]


def test_a_run_may_begin_with_trained_weights(tmp_path: Path) -> None:
    _, settings = tiny_run(tmp_path)
    train.Training(argparse.Namespace(out=tmp_path / "first", **vars(settings))).run()
    settings.weights = tmp_path / "first" / "model"
    second = train.Training(argparse.Namespace(out=tmp_path / "second", **vars(settings)))
    saved = Qwen2ForCausalLM.from_pretrained(settings.weights, dtype=torch.float32).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in second.model.state_dict().items())
    assert all(torch.equal(value, saved[name]) for name, value in second.average.items())
    settings.hidden = 128
    with pytest.raises(ValueError, match="another shape"):
        train.Training(argparse.Namespace(out=tmp_path / "third", **vars(settings)))


def test_a_token_that_the_trained_weights_do_not_know_begins_as_the_mean_of_its_pieces(tmp_path: Path) -> None:
    theirs = train_tokenizer([pair("def add(a): pass", "Add.")], vocabulary=265)
    ours = train_tokenizer([pair("def add_numbers(a): add_numbers(numbers)", "Add numbers.")], vocabulary=290)
    trained = build_model(theirs, 64, 1, "cpu")
    theirs.save_pretrained(tmp_path)
    trained.save_pretrained(tmp_path)
    model = build_model(ours, 64, 1, "cpu")
    load_weights(model, ours, tmp_path)
    known, vectors = (each.get_input_embeddings().weight for each in (trained, model))
    assert torch.equal(model.lm_head.weight, vectors)
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight, trained.model.layers[0].mlp.up_proj.weight)
    shared = [token for token in ours.get_vocab() if token in theirs.get_vocab()]
    assert len(shared) >= 256
    for token in shared:
        assert torch.equal(vectors[ours.get_vocab()[token]], known[theirs.get_vocab()[token]])
    new = ours.get_vocab()["Ġnumbers"]
    assert torch.allclose(vectors[new], known[theirs.encode("numbers")].mean(0))


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_a_deeper_model_begins_as_the_trained_one(layers: int, tmp_path: Path) -> None:
    trained = build_model(TOKENIZER, 64, 2, "cpu")
    TOKENIZER.save_pretrained(tmp_path)
    trained.save_pretrained(tmp_path)
    deeper = build_model(TOKENIZER, 64, layers, "cpu")
    load_weights(deeper, TOKENIZER, tmp_path)
    ids = torch.arange(20).reshape(2, 10)
    assert torch.allclose(deeper(ids).logits, trained(ids).logits, atol=1e-6)
    # Every new layer is on its way at once: what it adds is nothing yet, but has a gradient.
    deeper(ids, labels=ids).loss.backward()
    assert all(layer.mlp.down_proj.weight.grad.abs().max() > 0 for layer in deeper.model.layers)
    with pytest.raises(ValueError, match="another shape"):
        load_weights(build_model(TOKENIZER, 64, 1, "cpu"), TOKENIZER, tmp_path)


def test_a_word_is_the_same_tokens_wherever_it_stands() -> None:
    def tokens(text: str) -> list[int]:
        return list(TOKENIZER.encode(text))

    word = tokens("palette")
    for text in ("the palette", "get_palette", "getPalette", "HTTPPalette", "self.palette", "(palette", "Palette"):
        assert tokens(text)[-len(word) :] == word, text
    assert tokens("x = 1\npalette")[-len(word) :] == word


@given(st.text(st.characters(exclude_characters=[JOINED, CAPITAL], exclude_categories=["Cs"])))
@example("getHTTPPalette_x2y of Don't 'a' \u00c9cole, self.fooBar (A) `x`")
def test_a_text_on_one_line_is_decoded_as_it_was(text: str) -> None:
    line = " ".join(text.split())
    assert TOKENIZER.decode(TOKENIZER.encode(line)) == line


def test_languages_with_few_pairs_come_more_often() -> None:
    pairs = [pair(f"def f_{i}(a, b): pass", "Do.") for i in range(1_000)]
    pairs += [pair(f"fn f_{i}(a: u8)", "Do.", language="rust") for i in range(100)]
    pairs += [pair(f"int f_{i}(int a)", "Do.", language="c") for i in range(500)]
    pairs += [pair("f()", "Do.", language="java")]
    assert repeats(pairs) == pytest.approx({"python": 1, "rust": 10**0.3, "c": 2 * 2**0.3, "java": 3})
    drawn = Counter(code.split("_")[0] for code, _ in texts(pairs, random.Random(0)))
    assert drawn["def f"] == 1_000
    assert 170 < drawn["fn f"] < 230
    assert 1_180 < drawn["int f"] < 1_290
    assert drawn["f()"] == 3


def test_attention_of_training_is_that_of_torch() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 9, 16), torch.randn(2, 1, 9, 16), torch.randn(2, 1, 9, 16)
    mine, _ = matrix_attention(None, query, key, value, None, scaling=0.25)
    torchs = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    assert torch.allclose(mine, torchs.transpose(1, 2), atol=1e-5)


def test_calibration_finds_what_the_log_probabilities_tell() -> None:
    from dobby_dagster.inference.engine import Generation
    from dobby_dagster.inference.scoring.confidence import OutputFeatures

    rng = np.random.default_rng(0)
    answered = []
    for mean in rng.uniform(-3, 0, 400):
        true = rng.random() < 1 / (1 + np.exp(-(3 + 3 * mean)))
        text = "Return the name of it." if true else "Parse."
        generation = Generation("0", text, 0.5, mean, mean - 1, "stop", 10, 8, False, 0.0)
        answered.append(Answered(pair("def f(): pass", "Return the name of it."), generation, False))
    calibration = fit(answered)
    given = [calibration.probability(features(a)) for a in answered]
    assert calibration_error(given, [a.answer.text != "Parse." for a in answered]) < 0.06
    assert calibration.probability(OutputFeatures(-0.1, -1.1, 8, False)) > 0.8
    assert calibration.probability(OutputFeatures(-2.5, -3.5, 8, False)) < 0.3


def test_each_kind_of_content_has_weights_of_its_own_and_a_rare_one_has_none() -> None:
    from dobby_dagster.inference.engine import Generation
    from dobby_dagster.inference.scoring.confidence import OutputFeatures, confidence

    rng = np.random.default_rng(0)
    answered = []
    shell = "#!/bin/sh\nset -e\nfor f in *; do\n  gzip $f\ndone\n"
    contents = [("def f(): return 1", "python", 0.9, 200), (shell, "shell", 0.1, 200), ("{}", "json", 0.5, 20)]
    for code, language, share, count in contents:
        for _ in range(count):
            text = "Return the name of it." if rng.random() < share else "Parse."
            mean = rng.uniform(-1, 0)
            generation = Generation("0", text, 0.5, mean, mean - 1, "stop", 10, 8, False, 0.0)
            one = pair(code, "Return the name of it.", language=language)
            answered.append(Answered(one, generation, False))
    calibration = fit(answered)
    assert set(calibration.kinds) == {"shell"}, "20 answers are too few"
    means = {}
    for kind in ("code", "shell"):
        given = [confidence(features(a), calibration) for a in answered if features(a).kind == kind]
        assert None not in given
        means[kind] = np.mean([value for value in given if value is not None])
    assert means["code"] == pytest.approx(0.9, abs=0.05)
    assert means["shell"] == pytest.approx(0.1, abs=0.05)
    assert confidence(OutputFeatures(-0.5, -1.5, 8, False, 0.0, "data"), calibration) is None


def test_the_table_of_other_kinds_has_an_ece_for_each_and_says_what_is_unknown() -> None:
    pairs = [
        pair('{"name": "a", "size": 1, "port": 80, "hosts": []}', "A JSON object with the keys name and size.", language="json", kind="data"),
        pair("def test_a():\n    assert add(1, 2) == 3\n", "Adds two numbers.", kind="test"),
    ]  # fmt: skip
    table = kinds_table(MODEL, pairs, 5)
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in table.splitlines() if line.startswith("|")}
    assert [cell.strip() for cell in rows["data json"]][4:] == ["1", "", ""]
    assert [cell.strip() for cell in rows["test python"]][4] == "0"
    assert float(rows["test python"][-1]) >= 0
    assert {"*all of code*", "*all of data*"} <= set(rows)


def test_an_evaluation_of_the_built_in_model(tmp_path: Path) -> None:
    found = [pair for _, text in [("a.py", PYTHON)] for pair in pairs_of_file("p", "a.py", text)]
    train_pairs = [pair("def read_file(path):\n    return open(path).read()", "Read a file and return it.")]
    page, answered = evaluation(MODEL, found, train_pairs, 10, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").stat().st_size > 1_000
    measured = read_reliability(tmp_path)
    assert measured is not None
    assert measured.count == len(answered["python"]) * 2
    assert "| python | 3 of 1 |" in page
    assert all(name in page for name in ODDITIES)
    assert "## python" in samples_page(answered, 2)
    records = list(records_of_file("p", "a.py", PYTHON))
    listed = records_page(MODEL, records, 10)
    assert all(f"| p `{record.name}` | {record.summary} |" in listed for record in records)
    assert sample(found, ["python", "go"], 2).keys() == {"python"}
    assert [p.code for p in with_documentation(found[:1])] == [found[0].documented]
    assert answers(MODEL, []) == []
