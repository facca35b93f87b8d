"""The embedding of a search: its words, its training, and its folder as the product reads it."""

from pathlib import Path

import numpy as np
import pytest

from dobby_dagster.inference.embedding.embedder_choice import built_in_embedding
from dobby_dagster.inference.embedding.static_embedding import StaticEmbedder
from dobby_dagster_tests.helpers.pairs import pair
from training.search_embedding import contrast, vocabulary
from training.search_embedding.folder import write

WORDS = ["read", "file", "open", "close", "queue", "http", "##s"]


def test_identifiers_are_split_into_words_whatever_their_case() -> None:
    made = vocabulary.tokenizer([vocabulary.UNKNOWN, *WORDS])
    assert made.encode("readHTTPFiles(open_queue)").tokens == ["read", "http", "file", "##s", "open", "queue"]
    assert set(made.encode("héllo 漢字").ids) == {0}


def test_the_vocabulary_has_known_pieces_that_occur_and_frequent_words() -> None:
    texts = ["readFile readFile mutex mutex", "x mutex 漢字"]
    known = ["read", "queue", "##s", "x", "漢", "file"]
    assert vocabulary.chosen(known, texts, seen=2, added=1) == ["[UNK]", "read", "##s", "x", "file", "mutex"]


def test_a_sentence_comes_nearer_to_its_code_and_the_folder_is_one_of_the_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contrast, "BATCH", 4)
    pairs = [
        pair("open(path)", "Read it.", "a"), pair("queue.pop()", "Close it.", "b"),
        pair("http.get()", "File it.", "c"), pair("x", "Queue it.", "d"),
    ]  # fmt: skip
    tokenizer = vocabulary.tokenizer([vocabulary.UNKNOWN, *WORDS])
    first = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    first[0] = 0
    trained = contrast.fine_tuned(first, contrast.tokens_of(tokenizer, pairs), seconds=1.5)

    def nearness(vectors: np.ndarray, place: str) -> float:
        write(tmp_path / place, tokenizer, vectors)
        sentence, code = StaticEmbedder(tmp_path / place).embed(["Read it.", "open(path)"])
        return float(sentence @ code)

    assert nearness(trained, "after") > nearness(first, "before")


def test_what_ships_knows_words_of_code_and_of_english() -> None:
    embedder = StaticEmbedder(built_in_embedding(), trusted=True)
    question, near, far = embedder.embed(
        ["remove white space at both ends", "def strip(text): trims blanks", "def connect(socket): opens a port"]
    )
    assert len(question) == 256
    assert question @ near > question @ far + 0.1
