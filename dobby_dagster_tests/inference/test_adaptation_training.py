"""Training of a model's last layers: what it computes, that it learns, and that it goes on where it was interrupted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch.nn import functional
from transformers import AutoModelForCausalLM

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import DEFAULT_MODEL
from dobby_dagster.inference.adaptation.checkpoint_file import read_checkpoint, save_checkpoint
from dobby_dagster.inference.adaptation.decoder import Decoder, load_decoder, trained_weights
from dobby_dagster.inference.adaptation.trained_folder import write_int8_folder, write_trained_folder
from dobby_dagster.inference.adaptation.training_examples import Example, batch, encoded, grouped, within
from dobby_dagster.inference.adaptation.training_run import Plan, TrainingRun, rate_share
from dobby_dagster.inference.models.checkpoint import Checkpoint
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster_tests.helpers.checkpoints import edit_json

WEIGHTS = "model.safetensors"
PROMPT = PromptLibrary.load().get("summary")
TEXTS = [(f"def read(file):\n    return open(file, {i})", "python", "read the file") for i in range(24)]


@pytest.fixture(params=["qwen2", "llama"])
def tiny(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(request.param))


def in_float32(folder: Path, trained: int) -> Decoder:
    source = check_folder(folder)
    loaded = load_decoder(source, trained)
    return Decoder(loaded.config, trained_weights(source, loaded), trained, torch.float32)


@pytest.mark.parametrize("trained", [1, 2, 6])
def test_the_losses_are_those_of_transformers(tiny: Path, trained: int) -> None:
    reference = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    decoder = in_float32(tiny, trained)
    rng = np.random.default_rng(0)
    texts = batch([Example(rng.integers(4, 200, length).astype(np.int32), length // 2) for length in (20, 9, 17)])
    ids, places, targets = (torch.from_numpy(each) for each in (texts.ids, texts.places, texts.targets))
    with torch.no_grad():
        logits = reference(ids).logits.flatten(0, 1)[places]
        losses = decoder.losses(decoder.lower(ids), places, targets)
    torch.testing.assert_close(
        losses, functional.cross_entropy(logits, targets, reduction="none"), atol=1e-4, rtol=1e-4
    )


def test_a_loss_is_at_each_token_of_a_sentence_and_at_its_end(tiny: Path) -> None:
    source = check_folder(tiny)
    [example] = encoded(source, PROMPT, 400, TEXTS[:1])
    texts = batch([example])
    sentence = example.tokens[example.start :]
    assert texts.targets.tolist() == sentence.tolist()
    assert sentence[-1] in source.config.eos_token_id
    assert len(sentence) > 2


def plan(seconds: float = 600.0) -> Plan:
    return Plan(seconds, epochs=6, rate=3e-3, tokens=512)


def made(folder: Path, seconds: float = 600.0) -> TrainingRun:
    examples = encoded(check_folder(folder), PROMPT, 400, TEXTS)
    return TrainingRun(in_float32(folder, 1), examples[:16], examples[16:], plan(seconds))


def test_a_run_lowers_the_loss_and_changes_the_last_layers_only(tiny: Path, tmp_path: Path) -> None:
    run = made(tiny)
    before = {name: value.detach().clone() for name, value in run.decoder.weights.items()}
    run.run(lambda _: None)
    assert run.progress.losses[run.progress.best] < run.progress.losses[0] / 2
    changed = {name for name, value in run.decoder.weights.items() if not torch.equal(value, before[name])}
    assert {name.removeprefix("model.").split(".")[1] for name in changed if "layers" in name} == {"1"}
    assert changed <= set(run.decoder.parameters)
    weights = trained_weights(check_folder(tiny), run.decoder)
    write_int8_folder(weights, tiny, tmp_path / "int8", {})
    assert check_folder(tmp_path / "int8").keeps_int8
    write_trained_folder(weights, check_folder(tiny), tmp_path / "whole")
    write_trained_folder(weights, check_folder(tmp_path / "int8"), tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (tmp_path / "int8" / WEIGHTS).read_bytes()
    for name in ("int8", "whole"):
        with Checkpoint(check_folder(tmp_path / name), "pt") as checkpoint:
            stored = checkpoint.state(torch.float32)
        for weight, value in weights.items():
            torch.testing.assert_close(stored[weight], value, atol=float(value.abs().max()) / 100, rtol=0)


def test_what_is_not_trained_is_stored_as_it_was(tmp_path: Path) -> None:
    source = check_folder(shelf()[DEFAULT_MODEL])
    write_trained_folder(trained_weights(source, load_decoder(source, 1)), source, tmp_path)
    with safe_open(source.path / WEIGHTS, "pt") as before, safe_open(tmp_path / WEIGHTS, "pt") as after:
        assert set(before.keys()) == set(after.keys())
        assert all(torch.equal(before.get_tensor(name), after.get_tensor(name)) for name in before.keys())  # noqa: SIM118


def test_an_interrupted_run_ends_with_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(run: TrainingRun) -> None:
        if run.progress.step == 3:
            save_checkpoint(tmp_path / "state.safetensors", *run.state())
            raise Stopped

    whole, part, rest = made(tiny), made(tiny), made(tiny)
    whole.run(lambda _: None)
    with pytest.raises(Stopped):
        part.run(stop)
    rest.restore(*read_checkpoint(tmp_path / "state.safetensors"))
    rest.run(lambda _: None)
    assert rest.progress.step == whole.progress.step
    assert rest.progress.losses == whole.progress.losses
    assert all(torch.equal(rest.best[name], value) for name, value in whole.best.items())


def test_a_run_without_time_changes_nothing(tiny: Path) -> None:
    run = made(tiny, seconds=0.0)
    before = {name: value.detach().clone() for name, value in run.decoder.weights.items()}
    run.run(lambda _: None)
    assert run.progress.step == 0
    assert all(torch.equal(value, before[name]) for name, value in run.decoder.weights.items())


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(b"\x00" * 40)
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors' is damaged"):
        read_checkpoint(file)


def test_a_model_that_computes_something_else_is_refused(llama: Path, tmp_path: Path) -> None:
    for file in llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    edit_json(tmp_path / "config.json", hidden_act="gelu")
    with pytest.raises(ModelError, match="can't be adapted: the model's activation is not SiLU"):
        load_decoder(check_folder(tmp_path), 1)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=60), st.integers(0, 9))
def test_every_example_is_in_one_batch_and_batches_are_bounded(lengths: list[int], seed: int) -> None:
    groups = grouped(lengths, 128, np.random.default_rng(seed))
    assert sorted(int(index) for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        longest = -(-max(lengths[index] for index in group) // 8) * 8
        assert len(group) == 1 or longest * len(group) <= 128


def test_examples_beyond_the_memory_are_left_out() -> None:
    examples = [Example(np.zeros(100, np.int32), 50) for _ in range(50)]
    assert len(within(examples, 1_000, 0)) == 50
    assert len(within(examples, 1_000_000, 0)) == 10
    assert within(examples, 10**12, 0) == []


@given(st.floats(0, 1))
def test_the_rate_is_never_more_than_its_peak(done: float) -> None:
    assert 0 <= rate_share(done) <= 1
