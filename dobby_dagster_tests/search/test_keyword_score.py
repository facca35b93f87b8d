"""The order of candidates by the words that they share with a question."""

from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.word_frequencies import WordFrequencies
from dobby_dagster.search import keyword_score

WORDS = st.lists(st.sampled_from(["read", "reads", "file", "socket", "queue", "x"]), max_size=8)


def rescored(words: list[str], documents: dict[str, str]) -> list[str]:
    frequencies = WordFrequencies.of(len(documents), list(documents.values()))
    return keyword_score.rescored(words, documents, frequencies)


@given(WORDS, st.dictionaries(st.text(max_size=3), WORDS.map(" ".join), max_size=6))
def test_every_candidate_is_kept_once(words: list[str], documents: dict[str, str]) -> None:
    assert sorted(rescored(words, documents)) == sorted(documents)


def test_more_words_of_the_question_count_for_more_than_one_word_often() -> None:
    documents = {"often": "read read read read", "both": "read socket", "neither": "queue", "one": "socket of queue"}
    assert rescored(["read", "socket"], documents) == ["both", "often", "one", "neither"]


def test_of_two_with_the_same_word_the_shorter_is_first_and_equal_ones_stay() -> None:
    documents = {"long": "file " + "queue " * 20, "short": "file queue", "same": "file queue"}
    assert rescored(["files"], documents) == ["short", "same", "long"]
    assert rescored([], documents) == list(documents)


def test_a_word_that_is_rare_elsewhere_counts_for_more_than_one_that_is_common() -> None:
    documents = {"common": "get file", "rare": "socket file"}
    frequencies = WordFrequencies.of(1_000, ["get file", "get queue", "get x"])
    assert keyword_score.rescored(["get", "socket"], documents, frequencies) == ["rare", "common"]
