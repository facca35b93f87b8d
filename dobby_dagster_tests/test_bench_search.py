"""The benchmark of searches: which functions it asks for, and its figures."""

from hypothesis import given
from hypothesis import strategies as st

from bench.search.figures import DEPTHS, figures
from bench.search.held_out import SHORTEST, sampled
from dobby_dagster_tests.helpers.pairs import pair

LONG = "x = 1\n" * SHORTEST
RANKING = st.lists(st.sampled_from("abcdefghijklmn"), unique=True, max_size=12)


@given(st.lists(RANKING, min_size=1, max_size=5))
def test_a_deeper_recall_is_no_smaller_and_the_reciprocal_rank_lies_between(rankings: list[list[str]]) -> None:
    found = figures(rankings, ["a"] * len(rankings))
    shares = [found.recalls[depth] for depth in DEPTHS]
    assert 0 <= shares[0] <= shares[1] <= shares[2] <= 1
    assert shares[0] <= found.reciprocal_rank <= 1


def test_as_many_of_each_language_always_the_same_and_each_with_a_key_of_its_own() -> None:
    pairs = [pair(LONG, f"Sentence {n}.", "f", language=language) for language in ("go", "c") for n in range(5)]
    pairs += [pair("short", "Too short.", language="go"), pair(LONG, "A section.", kind="section", language="go")]
    chosen = sampled(pairs, 3, "seed")
    assert chosen == sampled(pairs, 3, "seed") != sampled(pairs, 3, "other")
    assert sorted(each.language for each in chosen.values()) == ["c"] * 3 + ["go"] * 3
    assert set(chosen) == {"p::f", *(f"p::f~{n}" for n in range(2, 7))}
