"""Matrices whose numbers share words: beside what vLLM's and compressed-tensors' own code makes of them.

``packed_references.npz`` holds matrices that vLLM 0.32 (``quantize_weights``, ``gptq_pack``, ``awq_pack``) and
compressed-tensors 0.17 (``PackedQuantizationCompressor``) quantized and packed, and their dequantized values.
"""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.packed_formats import AWQ, GPTQ, PACK_QUANTIZED, PackedFormat, unpacked
from dobby_dagster_tests.helpers.checkpoints import edit_tensors
from dobby_dagster_tests.helpers.local_engines import FASTEST, engine_on
from dobby_dagster_tests.helpers.quantized_checkpoints import quantized

REFERENCES = np.load(Path(__file__).with_name("packed_references.npz"))
FORMATS: dict[str, PackedFormat] = {
    "gptq4": GPTQ, "gptq8": replace(GPTQ, bits=8), "gptq4order": GPTQ, "gptq4zeros": GPTQ, "awq": AWQ,
    "packsym4": PACK_QUANTIZED, "packasym4": PACK_QUANTIZED, "packsym8": replace(PACK_QUANTIZED, bits=8),
    "packact4": PACK_QUANTIZED,
}  # fmt: skip


def parts_of(name: str) -> dict[str, np.ndarray]:
    found = {key.removeprefix(f"{name}."): REFERENCES[key] for key in REFERENCES.files if key.startswith(f"{name}.")}
    return {key: value for key, value in found.items() if key != "reference"}


@pytest.mark.parametrize("name", FORMATS)
def test_matrices_are_dequantized_exactly(name: str) -> None:
    form, parts = replace(FORMATS[name], group_size=16), parts_of(name)
    assert np.array_equal(form.values(name, parts), REFERENCES[f"{name}.reference"])
    assert form.whole_shape(parts[form.words].shape) == REFERENCES[f"{name}.reference"].shape


@given(rows=st.integers(1, 4), words=st.integers(1, 4), bits=st.sampled_from([2, 4, 8]), data=st.data())
def test_every_number_comes_out_of_its_word(rows: int, words: int, bits: int, data: st.DataObject) -> None:
    count = words * 32 // bits
    numbers = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=rows * count, max_size=rows * count))
    packed = np.zeros((rows, words), np.uint32)
    for index, number in enumerate(numbers):
        row, column = divmod(index, count)
        packed[row, column * bits // 32] |= np.uint32(number << column * bits % 32)
    assert unpacked(packed.view(np.int32), bits).ravel().tolist() == numbers


ARRAYS = st.tuples(st.integers(0, 9), st.integers(0, 9)).flatmap(
    lambda shape: st.integers(-9, 9).map(lambda value: np.full(shape, value, np.int32))
)


@given(name=st.sampled_from(sorted(FORMATS)), data=st.data())
def test_parts_that_do_not_fit_are_refused(name: str, data: st.DataObject) -> None:
    parts: dict[str, Any] = parts_of(name)
    part = data.draw(st.sampled_from(sorted(parts)))
    change = data.draw(st.none() | ARRAYS)
    parts = {key: value for key, value in parts.items() if key != part} | ({} if change is None else {part: change})
    try:
        assert replace(FORMATS[name], group_size=16).values(name, parts).dtype == np.float32
    except ModelError as error:
        assert "its parts do not fit each other" in error.message


@pytest.mark.parametrize("shape", [(16, 10**15), (16, 10**9), (10**15, 32), (16, -1)])
def test_a_shape_beyond_what_is_stored_takes_no_memory(shape: tuple[int, int]) -> None:
    parts = parts_of("packsym4") | {"weight_shape": np.array(shape)}
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="its parts do not fit each other"):
            replace(PACK_QUANTIZED, group_size=16).values("packsym4", parts)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["awq", "packsym4", "packasym4"])
@pytest.mark.parametrize("group_size", [0, 32])
def test_groups_of_another_size_than_configured_are_refused(name: str, group_size: int) -> None:
    with pytest.raises(ModelError, match="its parts do not fit each other"):
        replace(FORMATS[name], group_size=group_size).values(name, parts_of(name))


def test_a_matrix_without_scales_is_named(qwen2: Path, tmp_path: Path) -> None:
    model, _ = quantized(qwen2, "gptq", tmp_path)
    edit_tensors(model, lambda tensors: {name: each for name, each in tensors.items() if not name.endswith("scales")})
    with pytest.raises(ModelError, match="q_proj.weight: its parts do not fit each other as gptq has them"):
        engine_on(model, FASTEST).load()
