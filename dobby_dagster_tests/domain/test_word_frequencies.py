"""Which words of a query are looked up."""

from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.word_frequencies import LOOKED_UP, WordFrequencies

WORDS = st.lists(st.sampled_from(["get", "getting", "url", "urls", "self", "no", "s", "ing"]), max_size=6)


@given(documents=st.integers(0, 1_000_000), sample=st.lists(WORDS.map(" ".join), max_size=30), asked=WORDS)
def test_the_rarest_is_always_looked_up_and_all_together_are_few(
    documents: int, sample: list[str], asked: list[str]
) -> None:
    found = WordFrequencies.of(documents, sample)
    chosen = found.worth(asked)
    assert bool(chosen) == bool(asked)
    assert set(chosen) <= set(asked)
    if asked:
        assert min(map(found.expected, asked)) == found.expected(chosen[0])
    assert sum(map(found.expected, chosen[1:])) <= LOOKED_UP
    assert all(found.expected(word) <= documents for word in asked)


def test_in_a_small_database_every_word_counts() -> None:
    found = WordFrequencies.of(1_000, ["py self get"] * 100)
    assert sorted(found.worth(["py", "self", "get"])) == ["get", "py", "self"]
