"""Vectors of a server: asked for in parts, in the order of the texts, and not trusted."""

from typing import Any

import numpy as np
import pytest

from dobby_dagster.domain.errors import ModelError, ModelServerError
from dobby_dagster.domain.settings import SearchSettings
from dobby_dagster.inference.embedding.server_embedding import AT_ONCE, ServerEmbedder
from dobby_dagster_tests.helpers.model_server import Scripted


def embedder_at(url: str, **settings: object) -> ServerEmbedder:
    return ServerEmbedder(SearchSettings.model_validate({"url": url, "served_name": "small"} | settings))


def lengths(_: int, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """Each text's length and 1 as its vector, the last first."""
    data = [{"index": i, "embedding": [len(text), 1]} for i, text in enumerate(body["input"])]
    return 200, {}, {"data": data[::-1]}


def test_vectors_come_in_the_order_of_the_texts_whatever_the_order_of_the_answer() -> None:
    texts = ["x" * (n % 9) for n in range(AT_ONCE + 5)]
    with Scripted(lengths) as server:
        found = embedder_at(server.url, api_key="a-secret-key").embed(texts)
    expected = np.array([[max(1, len(text)), 1] for text in texts], np.float32)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)
    assert [len(body["input"]) for body in server.asked] == [AT_ONCE, 5]
    assert set(server.keys) == {"Bearer a-secret-key"}


def test_another_size_under_the_same_name_is_another_embedding() -> None:
    size = [3]

    def answer(_: int, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        return 200, {}, {"data": [{"index": i, "embedding": [1.0] * size[0]} for i, _ in enumerate(body["input"])]}

    with Scripted(answer) as server:
        embedder = embedder_at(server.url)
        before = embedder.revision
        assert embedder_at(server.url).revision == before
        size[0] = 5
        with pytest.raises(ModelError, match="have 5 numbers now, and had 3 before"):
            embedder.embed(["one"])
        assert embedder.embed(["one"]).shape == (1, 5)
        assert embedder.revision == embedder_at(server.url).revision != before


def vectors(*rows: Any) -> dict[str, Any]:
    return {"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (vectors([1.0, 2.0]), "2 texts have other vectors than one each"),
        ({"data": [{"index": 0, "embedding": [1]}] * 2}, "2 texts have other vectors"),
        (vectors([1], [1, 2]), "of several sizes"),
        (vectors([], []), "embedding"),
        (vectors([1e300], [1]), "too large"),
        (vectors(["x"], [1]), "embedding"),
        (b'{"data": [{"index": 0, "embedding": [NaN]}]}', "finite number"),
        (b"[" * 100_000, "recursion limit"),
        ({"data": 7}, "data = 7"),
        (b"<html>", "not valid JSON"),
    ],
)
def test_a_malformed_answer_is_refused_in_words(body: Any, says: str) -> None:
    with Scripted(lambda number, asked: (200, {}, body)) as server, pytest.raises(ModelError, match=says) as refused:
        embedder_at(server.url).embed(["one", "two"])
    assert "is not an OpenAI-compatible embedding server" in refused.value.message
    assert len(refused.value.message) < 600


def test_a_busy_server_is_asked_again_and_a_refusal_is_not() -> None:
    with Scripted(lambda number, body: lengths(number, body) if number > 1 else (503, {}, {})) as server:
        assert embedder_at(server.url).embed(["one"]).shape == (1, 2)
    with Scripted(lambda number, body: (401, {}, {"error": {"message": "wrong key"}})) as server:
        with pytest.raises(ModelError, match="wrong key"):
            embedder_at(server.url).embed(["one"])
        assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_an_error_with_the_way_out() -> None:
    with pytest.raises(ModelServerError, match="does not answer") as refused:
        embedder_at("http://127.0.0.1:9/v1").embed(["one"])
    assert "search.embedding" in (refused.value.hint or "")


def test_name_and_size_are_the_revision_whatever_the_address() -> None:
    with Scripted(lengths) as server, Scripted(lengths) as other:
        one, two = embedder_at(server.url), embedder_at(other.url)
        assert one.revision == two.revision != embedder_at(server.url, served_name="large").revision
