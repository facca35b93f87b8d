"""Reciprocal rank fusion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.search.rank_fusion import fused

RANKING = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(text=RANKING, vector=RANKING)
def test_every_key_once_and_better_in_both_is_better(text: list[str], vector: list[str]) -> None:
    found = fused({"text": text, "vector": vector})
    keys = [each.key for each in found]
    assert sorted(keys) == sorted({*text, *vector})
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    for each in found:
        assert each.ways == tuple(way for way, ranking in (("text", text), ("vector", vector)) if each.key in ranking)
    for better in text:
        for worse in text[text.index(better) + 1 :]:
            if better in vector and (worse not in vector or vector.index(better) < vector.index(worse)):
                assert keys.index(better) < keys.index(worse)


@given(RANKING)
def test_one_ranking_keeps_its_order(ranking: list[str]) -> None:
    assert [each.key for each in fused({"text": ranking, "vector": []})] == ranking


def test_the_score_is_the_sum_of_reciprocal_ranks() -> None:
    assert fused({"text": ["a"], "vector": ["b", "a"]})[0].score == pytest.approx(1 / 61 + 2 / 62)
