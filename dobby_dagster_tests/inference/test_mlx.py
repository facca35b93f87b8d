"""The backend for Apple's GPUs, on MLX's CPU device: what it adds to what every backend is tested for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster_tests.helpers.local_engines import CONTENTS, LONG, texts

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from dobby_dagster.inference.mlx.mlx_logits import MlxLogits  # noqa: E402
from dobby_dagster.inference.mlx.mlx_weights import Matrix  # noqa: E402


def engine(folder: Path, quantization: str = "none", **inference: object) -> LocalEngine:
    model = ModelSettings.model_validate(
        {"device": "cpu", "dtype": "float32", "engine": "mlx", "quantization": quantization}
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


def test_sampling_is_seeded(qwen2: Path) -> None:
    pytest.importorskip("transformers")
    first, second = (texts(engine(qwen2, temperature=1.0, seed=3), CONTENTS[:6]) for _ in range(2))
    assert first == second
    assert texts(engine(qwen2, temperature=1.0, seed=4), CONTENTS[:6]) != first
