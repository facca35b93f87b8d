"""MLX, on its CPU device: what it adds to what every engine is tested for; ``TEST_DEVICE=mps`` for Apple's GPU."""

import sys
import threading
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference import engine_choice
from dobby_dagster.inference.local import devices, memory_budget
from dobby_dagster.inference.local.devices import Placement, place
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.mlx.mlx_device import unusable_reason
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster_tests.helpers.checkpoints import make_checkpoint
from dobby_dagster_tests.helpers.greedy_reference import Reference
from dobby_dagster_tests.helpers.local_engines import CONTENTS, DEVICE, LONG, PROMPT, generated, requests, texts

if reason := unusable_reason():
    pytest.skip(reason, allow_module_level=True)
import mlx.core as mx

from dobby_dagster.inference.mlx import mlx_network, mlx_slots
from dobby_dagster.inference.mlx.mlx_logits import MlxLogits
from dobby_dagster.inference.mlx.mlx_network import MlxNetwork
from dobby_dagster.inference.mlx.mlx_weights import Matrix


def engine(folder: Path, quantization: str = "none", **inference: object) -> LocalEngine:
    model = ModelSettings.model_validate(
        {"device": DEVICE, "dtype": "float32", "engine": "mlx", "quantization": quantization}
    )
    return LocalEngine(
        check_folder(folder), model, InferenceSettings.model_validate({"slots": 4, "max_new_tokens": 8} | inference)
    )


@pytest.mark.parametrize("bits", [0, 4, 8])
@pytest.mark.parametrize("columns", [20, 32, 64, 96, 192])
def test_a_quantized_matrix_multiplies_and_gives_rows_as_its_dequantized_numbers(bits: int, columns: int) -> None:
    weight, bias, x = mx.random.normal((48, columns)), mx.random.normal((48,)), mx.random.normal((2, 3, columns))
    matrix = Matrix(weight, bits, bias)
    plain = matrix.rows(mx.arange(48))
    if bits and columns % 32 == 0:
        assert matrix.bytes < weight.nbytes / 2
        assert np.abs(plain - weight).max() < (0.6 if bits == 4 else 0.04)
    else:
        assert np.array_equal(plain, weight), "no group size divides the rows"
    assert np.allclose(matrix(x), x @ plain.T + bias, atol=1e-3)


@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=5, max_size=5), min_size=1, max_size=4))
def test_the_best_of_each_row_is_that_of_numpy(rows: list[list[float]]) -> None:
    found, logits = MlxLogits(mx.array(rows)), np.array(rows, np.float32)
    tokens, logprobs = found.best()
    assert tokens == logits.argmax(-1).tolist(), "the first of equals"
    expected = logits.max(-1) - np.log(np.exp(logits.astype(np.float64)).sum(-1))
    assert np.allclose(logprobs, expected, atol=1e-4)
    assert np.array_equal(found.numpy(), logits)
    assert np.array_equal(found[0], logits[0])


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_a_quantized_model_is_smaller_and_writes(qwen2: Path, quantization: str) -> None:
    whole, quantized = engine(qwen2), engine(qwen2, quantization)
    assert quantized.load().memory_bytes < whole.load().memory_bytes
    written = texts(quantized, CONTENTS)
    assert len(written) == len(CONTENTS)


@pytest.mark.parametrize("model", ["qwen2", "llama"])
def test_a_reproducible_text_does_not_depend_on_the_others(model: str, request: pytest.FixtureRequest) -> None:
    made = engine(request.getfixturevalue(model), reproducible=True)
    contents = [*CONTENTS[:9], *LONG]
    together = texts(made, contents)
    assert [texts(made, [content])[0] for content in contents] == together
    assert texts(made, contents[::-1])[::-1] == together


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    architecture=st.sampled_from(["qwen2", "llama"]),
    heads=st.sampled_from([(2, 1), (4, 4), (6, 2)]),
    head_dim=st.sampled_from([8, 16, 24]),
    layers=st.integers(1, 3),
    tied=st.booleans(),
    theta=st.sampled_from([1e2, 1e4, 1e6]),
    seed=st.integers(0, 10**6),
)
@pytest.mark.slow
def test_models_of_any_shape_write_what_transformers_writes(
    tmp_path_factory: pytest.TempPathFactory, architecture: str, heads: tuple[int, int], head_dim: int, layers: int,
    tied: bool, theta: float, seed: int,
) -> None:  # fmt: skip
    path = make_checkpoint(
        tmp_path_factory.mktemp("shape") / "model", architecture, seed, num_attention_heads=heads[0],
        num_key_value_heads=heads[1], hidden_size=heads[0] * head_dim, num_hidden_layers=layers,
        tie_word_embeddings=tied, rope_parameters={"rope_type": "default", "rope_theta": theta},
    )  # fmt: skip
    contents = [*CONTENTS[:5], LONG[1]]
    expected = Reference(path).outputs(contents, PROMPT, 8)
    outputs = generated(engine(path, no_repeat_ngram=0), contents)
    for one, other in zip(outputs, expected, strict=True):
        assert one.output_ids == other.ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_another_thread_goes_on_where_one_stopped(qwen2: Path) -> None:
    """MLX shares no queue of work between threads, so nothing may be left in one."""
    made, found = engine(qwen2), []
    expected = texts(engine(qwen2), [*CONTENTS, *LONG])
    abandoned = made.infer(requests(CONTENTS), PROMPT)
    next(abandoned)  # some slots are moved, the others still in use
    abandoned.close()
    thread = threading.Thread(target=lambda: found.extend(texts(made, [*CONTENTS, *LONG])))
    thread.start()
    thread.join()
    assert found == expected
    assert texts(made, [*CONTENTS, *LONG]) == expected


def shapes_of(monkeypatch: pytest.MonkeyPatch) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The shapes of queries and keys that will be computed; all other shapes follow from them."""
    seen, attended = set(), MlxNetwork._attended

    def watched(self: MlxNetwork, query: mx.array, keys: mx.array, *rest: Any) -> mx.array:
        seen.add((query.shape, keys.shape))
        return attended(self, query, keys, *rest)

    monkeypatch.setattr(MlxNetwork, "_attended", watched)
    return seen


def test_the_number_of_shapes_is_bounded(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, slots, longest = shapes_of(monkeypatch), 12, 300
    draws = np.random.default_rng(0)
    made = engine(qwen2, slots=slots, max_prompt_tokens=longest, max_new_tokens=12)
    contents = ["x = 1 " * int(count) for count in draws.integers(1, 60, 80)]
    assert len(texts(made, contents)) == len(contents)
    lengths = range(mlx_network.LENGTH_STEP, longest + mlx_network.LENGTH_STEP, mlx_network.LENGTH_STEP)
    columns = range(mlx_slots.COLUMN_STEP, longest + 12 + mlx_slots.COLUMN_STEP, mlx_slots.COLUMN_STEP)
    [prefix] = {key[2] - query[2] for query, key in seen if 1 < query[2] < key[2]} or {0}
    prefills = {
        (rows, length, length + before) for rows, length, before in product(range(1, slots + 1), lengths, {0, prefix})
    }
    decodes = {(rows, 1, count) for rows, count in product((8, slots), columns)}
    found = {(query[0], query[2], keys[2]) for query, keys in seen}
    assert found <= prefills | decodes
    before = len(seen)
    assert len(texts(made, contents)) == len(contents)
    assert len(seen) == before, "the same work has the same shapes"


def test_the_budget_is_what_metal_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 10**9})
    monkeypatch.setattr(mx, "get_active_memory", lambda: 4 * 10**8)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert memory_budget.free_bytes("mps") == 6 * 10**8
    monkeypatch.setattr(mx, "get_active_memory", lambda: 2 * 10**9)
    assert memory_budget.free_bytes("mps") == 0


def test_what_mlx_keeps_of_freed_memory_is_bounded(qwen2: Path) -> None:
    engine(qwen2).load()
    expected = memory_budget.working_bytes(check_folder(qwen2).config, Placement(DEVICE, "float32", ""))
    assert mx.set_cache_limit(expected) == expected


def test_apples_gpu_is_taken_where_mlx_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(devices, "without_gpu_reason", lambda: "")
    chosen = place(ModelSettings(), reproducible=False)
    assert (chosen.device, chosen.dtype) == ("mps", "bfloat16")
    assert chosen.reason.startswith("auto chose mps")
    assert place(ModelSettings(), reproducible=True).dtype == "float32"


def test_without_mlx_one_line_says_how_to_get_it(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    with pytest.raises(ModelError, match=r"can't be run by mlx: mlx can't be imported \(.*\): pip install") as raised:
        engine(qwen2).load()
    assert raised.value.hint == "use model.engine = auto"
    monkeypatch.setattr(engine_choice, "missing", lambda *names: f"{names[0]} is not installed: pip install mlx")
    with pytest.raises(ModelError, match="can't be run by mlx: mlx is not installed: pip install mlx"):
        engine(qwen2).load()
