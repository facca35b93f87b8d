"""A folder of vectors of word pieces: texts are embedded, and what is broken in it is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.embedding.static_embedding import StaticEmbedder
from dobby_dagster_tests.helpers.embeddings import word_embedding

PIECES = ["[UNK]", "read", "file", "socket"]


def folder_of(place: Path, **tensors: np.ndarray) -> Path:
    return word_embedding(place, PIECES[1:], **tensors)


def good(place: Path) -> Path:
    vectors = np.array([[0, 0], [3, 0], [0, 1], [1, 1]], np.int8)
    return folder_of(place, embeddings=vectors, weights=np.array([1, 1, 4, 1], np.float32))


def test_a_text_is_the_sum_of_its_distinct_pieces_of_unit_length(tmp_path: Path) -> None:
    found = StaticEmbedder(good(tmp_path)).embed(["read file", "file read read", "read", "", "unheard of"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [0.6, 0.8], atol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[2:], [[1, 0], [0, 0], [0, 0]])


def test_a_text_is_embedded_alike_whatever_is_beside_it(tmp_path: Path) -> None:
    embedder = StaticEmbedder(good(tmp_path))
    words = st.lists(st.sampled_from([*PIECES, "other"]), max_size=8).map(" ".join)

    @given(st.lists(words, max_size=6), words)
    def alike(others: list[str], text: str) -> None:
        together = embedder.embed([*others, text])
        np.testing.assert_array_equal(together[-1], embedder.embed([text])[0])
        lengths = np.linalg.norm(together, axis=1)
        assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))

    alike()


def test_the_revision_is_that_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = StaticEmbedder(good(tmp_path / "one"))
    two = StaticEmbedder(folder_of(tmp_path / "two", embeddings=np.ones((4, 2), np.float32)))
    assert len(one.revision) == 64
    assert one.revision == StaticEmbedder(tmp_path / "one").revision != two.revision


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"other": np.ones((4, 2), np.float32)}, "is not a static embedding"),
        ({"embeddings": np.ones(4, np.float32)}, "is not a static embedding"),
        ({"embeddings": np.ones((4, 2), np.float32), "weights": np.ones(3, np.float32)}, "is not a static embedding"),
        ({"embeddings": np.ones((3, 2), np.float32)}, "the tokenizer does not fit the model"),
        ({"embeddings": np.full((4, 2), np.nan, np.float32)}, "not finite"),
        ({"embeddings": np.ones((4, 2), np.int64)}, "is of type I64"),
    ],
)
def test_what_is_no_embedding_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        StaticEmbedder(folder_of(tmp_path, **tensors)).embed(["read"])


def test_a_folder_without_vectors_or_with_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        StaticEmbedder(tmp_path)
    good(tmp_path)
    definition = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition | {"pre_tokenizer": {"type": "Nothing"}}))
    with pytest.raises(ModelError, match="the tokenizer can't be loaded"):
        StaticEmbedder(tmp_path).embed(["read"])
