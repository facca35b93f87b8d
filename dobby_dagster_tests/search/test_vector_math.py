"""Vectors as int8, and the nearest of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dobby_dagster.search.vector_math import LEAST, best, cosines, lengths, mixed, quantized

VECTORS = arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 16)), elements=st.floats(-1, 1, width=16))


@given(VECTORS)
def test_a_quantized_vector_points_nearly_where_it_did(vectors: np.ndarray) -> None:
    rows = quantized(vectors)
    norms = np.linalg.norm(vectors, axis=1)
    for row, vector, norm in zip(rows, vectors, norms, strict=True):
        if norm > 1e-3:
            [cosine] = cosines(row[None], lengths(row[None]), (vector / norm).astype(np.float32))
            assert cosine > 0.998
        elif norm == 0:
            assert not row.any()


@given(
    arrays(np.float32, st.integers(0, 40), elements=st.sampled_from([-1.0, 0.0, 0.125, 0.25, 0.5, 1.0])),
    st.integers(1, 10),
)
def test_the_best_are_the_highest_that_are_near_enough_in_order(scores: np.ndarray, limit: int) -> None:
    expected = sorted((place for place in range(len(scores)) if scores[place] > LEAST), key=lambda p: (-scores[p], p))
    assert best(scores, limit).tolist() == expected[:limit]


def test_a_vector_of_zeros_is_near_to_nothing() -> None:
    rows = np.zeros((2, 3), np.int8)
    assert cosines(rows, lengths(rows), np.array([1, 0, 0], np.float32)).tolist() == [0, 0]


def test_more_rows_than_a_block_are_compared_alike() -> None:
    rows = np.random.default_rng(0).integers(-127, 128, (9_000, 5), dtype=np.int8)
    query = np.array([0.6, 0, 0, 0.8, 0], np.float32)
    expected = rows.astype(np.float64) @ query / np.linalg.norm(rows.astype(np.float64), axis=1)
    np.testing.assert_allclose(cosines(rows, lengths(rows), query), expected, atol=1e-5)


def test_a_part_that_a_record_does_not_have_changes_nothing() -> None:
    name = np.array([[1, 0], [1, 0]], np.float32)
    summary = np.array([[0, 1], [0, 0]], np.float32)
    found = mixed({"name": name, "summary": summary})
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1], rtol=1e-6)
    np.testing.assert_array_equal(found[1], [1, 0])
