"""Packed generation by torch: its private operators, its blocks of queries, its threads, and its reproducible mode."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.packed import attention, linear_layer
from dobby_dagster.inference.packed.packed_network import PackedNetwork
from dobby_dagster.inference.packed.packed_weights import load_weights
from dobby_dagster_tests.helpers.local_engines import CONTENTS, LONG, PROMPT, generated, texts


def packed(path: Path, dtype: str = "float32", **chosen: object) -> LocalEngine:
    inference = InferenceSettings.model_validate({"slots": 4, "max_new_tokens": 8} | chosen)
    model = ModelSettings.model_validate({"device": "cpu", "dtype": dtype, "engine": "packed"})
    return LocalEngine(check_folder(path), model, inference)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_torchs_private_operators_the_result_is_the_same(
    dtype: str, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepacked = generated(packed(qwen2, dtype), CONTENTS[:8])
    monkeypatch.setattr(linear_layer, "_OPERATORS", object())
    linear_layer.can_prepack.cache_clear()
    try:
        assert not linear_layer.can_prepack(getattr(torch, dtype))
        plain = generated(packed(qwen2, dtype), CONTENTS[:8])
    finally:
        linear_layer.can_prepack.cache_clear()
    for one, other in zip(prepacked, plain, strict=True):
        assert one.logprobs[0] == pytest.approx(other.logprobs[0], abs=0.2 if dtype == "bfloat16" else 1e-3)
        if dtype == "float32":
            assert one.output_ids == other.output_ids


@pytest.fixture(scope="module")
def reproducible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalEngine, list[str]]]:
    from dobby_dagster_tests.helpers.checkpoints import make_checkpoint

    path = make_checkpoint(tmp_path_factory.mktemp("reproducible") / "model", seed=3)
    engine = packed(path, reproducible=True, slots=5)
    yield engine, [texts(engine, [content])[0] for content in [*CONTENTS, *LONG]]
    engine.close()


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), count=st.integers(1, 29))
def test_in_reproducible_mode_the_batch_changes_no_bit(
    reproducible: tuple[LocalEngine, list[str]], seed: int, count: int
) -> None:
    engine, alone = reproducible
    contents = [*CONTENTS, *LONG]
    chosen = random.Random(seed).sample(range(len(contents)), count)
    answers = {a.id: a for a in engine.infer([Request(str(i), contents[i], "python") for i in chosen], PROMPT)}
    for index in chosen:
        answer = answers[str(index)]
        assert isinstance(answer, Generation)
        assert answer.text == alone[index]
        [again] = engine.infer([Request("x", contents[index], "python")], PROMPT)
        assert isinstance(again, Generation)
        assert (again.mean_logprob, again.min_logprob) == (answer.mean_logprob, answer.min_logprob)


def test_a_long_prompt_is_attended_to_in_blocks(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = load_weights(check_folder(qwen2), torch.float32)
    ids = [random.Random(1).randrange(300) for _ in range(400)]

    def first(block: int) -> np.ndarray:
        monkeypatch.setattr(attention, "QUERY_BLOCK", block)
        made = PackedNetwork(weights)
        return made.prefill([ids, ids[:37]], made.slots(2, 408), 0)

    assert np.allclose(first(10_000), first(64), atol=1e-4)


def test_two_generators_leave_torchs_threads_as_they_were(qwen2: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = packed(qwen2, slots=128)
        assert "2 generators in parallel" in engine.load().engine_reason
        assert torch.get_num_threads() == 2
        assert len(texts(engine, CONTENTS)) == len(CONTENTS)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
