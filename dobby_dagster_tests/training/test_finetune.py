"""How a pretrained model becomes the built-in one: fewer tokens, fewer layers, the work learned."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from dobby_dagster.inference.adaptation.trained_folder import quantized
from dobby_dagster_tests.helpers.checkpoints import make_checkpoint
from dobby_dagster_tests.helpers.pairs import pair
from training.base import BEGINS_AS, trimmed
from training.batches import Batch, Examples
from training.examples import pack
from training.finetune import TEACHING, Finetuning, divergence, rate_share
from training.layer_pruning import influence
from training.llama import load
from training.tokenizer import CODE, SPECIAL, SUMMARY

PAIRS = [pair(f"def add_{i}(a, b):\n    return a + b + {i}", f"Add two numbers and {i}.") for i in range(60)]


def large_tokenizer() -> Tokenizer:
    """A byte-level BPE with the special tokens of a pretrained model, learned from code."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(BEGINS_AS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [Path(__file__).read_text(), Path(torch.__file__).read_text()[:50_000]]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


LARGE = large_tokenizer()
COUNTS = Counter(LARGE.encode(Path(__file__).read_text()).ids)
SMALL_JSON, OLD = trimmed(json.loads(LARGE.to_str()), COUNTS, 400)
SMALL = Tokenizer.from_str(json.dumps(SMALL_JSON))


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_trimmed_vocabulary_gives_every_text_back(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text).ids, skip_special_tokens=False) == text


def test_a_trimmed_vocabulary_keeps_what_is_used_most_and_knows_its_vectors() -> None:
    vocabulary = SMALL.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(OLD))) == list(range(400))
    assert [vocabulary[name] for name in SPECIAL] == [0, 1, 2, 3]
    for name, number in vocabulary.items():
        assert LARGE.id_to_token(OLD[number]) == BEGINS_AS.get(name, name)
    # Each merge makes a token out of two others.
    for left, right in SMALL_JSON["model"]["merges"]:
        assert {left, right, left + right} <= set(vocabulary)
    most_used = [LARGE.id_to_token(number) for number, _ in COUNTS.most_common(40)]
    assert set(most_used) <= set(vocabulary)
    assert SMALL.encode("x1234").tokens == ["x", "1", "2", "3", "4"]


def test_the_rate_rises_and_falls_twice() -> None:
    student = TEACHING + 0.2 * (1 - TEACHING)
    assert rate_share(0.2 * TEACHING) == rate_share(student) == 1.0
    assert rate_share(0.0) == rate_share(TEACHING) < 0.2
    assert rate_share(TEACHING * 0.999) < 0.01
    assert rate_share(1.0) == 0.0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_a_divergence_is_zero_for_the_same_probabilities_and_positive_otherwise(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 4, 9, generator=random).unbind(0)
    assert (divergence(one, other) > 0).all()
    torch.testing.assert_close(divergence(one, one + 2.0), torch.zeros(4), atol=1e-5, rtol=0)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=other), torch.distributions.Categorical(logits=one)
    )
    torch.testing.assert_close(divergence(one, other), expected, atol=1e-5, rtol=1e-4)


def test_a_layer_that_changes_nothing_has_no_influence() -> None:
    state = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    same, turned = influence([state, state * 2, -state])
    assert same == pytest.approx(0.0, abs=1e-6)
    assert turned == pytest.approx(2.0, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_int8_is_as_near_as_half_a_step(seed: int) -> None:
    value = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)) * 0.1
    stored = quantized("a.weight", value)
    scale = stored["a.weight_scale"].float()
    assert stored["a.weight"].dtype == torch.int8
    # The scale is rounded to bfloat16, by one part in 256 at most.
    assert ((stored["a.weight"].float() * scale - value).abs() <= scale * 1.01).all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base model with random weights, and packed examples."""
    base = make_checkpoint(tmp_path / "base", "llama")
    config = json.loads((base / "config.json").read_text())
    config.setdefault("rope_parameters", {"rope_type": "default", "rope_theta": 10_000.0})
    (base / "config.json").write_text(json.dumps(config))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": [CODE, SUMMARY]})
    model = LlamaForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(base)
    (tmp_path / "data").mkdir()
    for role in ("train", "validation"):
        examples = [(each.code, each.summary, 1.0) for each in PAIRS]
        np.savez(tmp_path / "data" / f"{role}.npz", **pack(examples, tokenizer, 0))
    return tmp_path


def test_tokens_end_to_end_compute_what_transformers_does(folder: Path) -> None:
    reference = LlamaForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    model = load(folder / "base", dtype=torch.float32)
    rows, length, filling = 3, 20, 5
    ids = torch.randint(4, 200, (rows, length))
    with torch.no_grad():
        expected = reference(ids).logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None]).flatten()
        flat = torch.cat([ids.flatten(), torch.zeros(filling, dtype=torch.long)])
        positions = torch.cat([torch.arange(length).repeat(rows), torch.zeros(filling, dtype=torch.long)])
        places = torch.arange(rows * length).view(rows, length)[:, :-1].flatten()
        state = model.hidden(flat, positions, rows, length)[-1]
        losses = functional.cross_entropy(model.logits(state, places), flat[places + 1], reduction="none")
    torch.testing.assert_close(-losses, expected, atol=1e-4, rtol=1e-4)


def test_a_batch_holds_its_examples_and_their_losses(folder: Path) -> None:
    examples = Examples(folder / "data" / "train.npz", tokens=512)
    epoch = examples.epoch(seed=1)
    assert sorted(np.concatenate(epoch)) == list(range(len(PAIRS)))
    for members in epoch:
        batch = examples.batch(members, 0, learning=False)
        assert batch.ids.shape == batch.positions.shape == (512,)
        rows = batch.ids[: batch.rows * batch.length].reshape(batch.rows, batch.length)
        for row, member in zip(rows, members, strict=True):
            tokens = examples.tokens[examples.offsets[member] : examples.offsets[member + 1]]
            assert row[: len(tokens)].tolist() == tokens.tolist()
        assert batch.spoken.all()
        assert (batch.ids[batch.places + 1] == batch.targets).all()
        spoken = sum(examples.lengths[m] - examples.starts[m] for m in members)
        assert len(batch.targets) == spoken


def arguments(folder: Path, **changed: Any) -> argparse.Namespace:
    values = {
        "base": folder / "base", "data": folder / "data", "out": folder / "run", "seconds": 0.0, "steps": 60, "layers": 1,
        "tokens": 512, "rate": 3e-3, "teaching_rate": 3e-3, "every": 1_000, "seed": 0, "workers": 0, "device": "cpu", "compile": False,
    }  # fmt: skip
    return argparse.Namespace(**values | changed)


def test_a_run_teaches_prunes_distils_and_goes_on(folder: Path) -> None:
    run = Finetuning(arguments(folder))
    before = run._validate(run.held_out)
    run.run()
    assert len(run.model.layers) == 1
    after = run._validate(run.held_out)
    assert after < before
    again = Finetuning(arguments(folder, steps=70))
    assert run.teacher is not None
    assert again.teacher is not None
    assert len(again.teacher.layers) > 1
    assert all(
        torch.equal(a, b) for a, b in zip(again.teacher.named().values(), run.teacher.named().values(), strict=True)
    )
    assert (again.step, len(again.model.layers), again.dropped) == (run.step, 1, run.dropped)
    assert again._validate(again.held_out) == pytest.approx(after, abs=1e-6)
    again.run()
    assert again.step > run.step
    log = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["dropped"] for row in log if "dropped" in row] == run.dropped
    config = json.loads((folder / "run" / "model" / "config.json").read_text())
    assert config["num_hidden_layers"] == 1
    assert config["quantization_config"]["format"] == "int-quantized"


def test_the_same_seed_draws_the_same_batch(folder: Path) -> None:
    examples = Examples(folder / "data" / "train.npz", tokens=512)
    members = examples.epoch(0)[0]

    def drawn(seed: int) -> Batch:
        return examples.batch(members, seed)

    assert (drawn(3).ids == drawn(3).ids).all()
    assert any((drawn(3).places.shape != drawn(seed).places.shape) for seed in range(4, 9))
