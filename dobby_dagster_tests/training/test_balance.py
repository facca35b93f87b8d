"""How often pairs come in an epoch: languages and projects are balanced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.balance import EMPHASIS, MOST, PROJECT_EXPONENT, balanced
from training.corpus.pair import Pair
from training.examples import examples_of
from training.packing import repeats


def pairs_of(sizes: dict[tuple[str, str], int]) -> list[Pair]:
    """As many pairs of each project and language as given."""
    return [
        Pair(project, language, "function", f"f{i}", f"{project} {language} {i}", "", 0, "Do it now.")
        for (project, language), size in sizes.items()
        for i in range(size)
    ]


CORPORA = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["python", "rust", "c"])), st.integers(1, 30), min_size=1
).map(pairs_of)


@given(CORPORA)
def test_a_pair_comes_once_on_average_and_at_most_twice(pairs: list[Pair]) -> None:
    often = balanced(pairs)
    assert often.mean() == pytest.approx(1, rel=1e-6)
    assert 0 < often.min() <= often.max() <= MOST


@given(CORPORA)
def test_a_larger_project_counts_more_and_each_of_its_pairs_less(pairs: list[Pair]) -> None:
    often = {(pair.project, pair.language): times for pair, times in zip(pairs, balanced(pairs), strict=True)}
    sizes = {project: sum(pair.project == project for pair in pairs) for project, _ in often}
    for small, language in often:
        for large in (name for name, other in often if other == language and sizes[name] > sizes[small]):
            assert often[large, language] <= often[small, language] * (1 + 1e-9)
            assert often[large, language] * sizes[large] >= often[small, language] * sizes[small] * (1 - 1e-9)


def test_a_project_counts_as_its_size_to_the_exponent() -> None:
    often = balanced(pairs_of({("small", "go"): 500, ("large", "go"): 1_000}))
    assert often[-1] * 1_000 / (often[0] * 500) == pytest.approx(2**PROJECT_EXPONENT)


def test_languages_are_balanced_as_without_projects() -> None:
    pairs = pairs_of({("a", "go"): 40, ("b", "rust"): 20, ("a", "rust"): 20, ("b", "go"): 40})
    often = balanced(pairs)
    assert often[40] / often[0] == pytest.approx(repeats(pairs)["rust"] / repeats(pairs)["go"])


def test_python_is_emphasised() -> None:
    often = balanced(pairs_of({("a", "python"): 40, ("b", "go"): 40}))
    assert often[0] / often[-1] == pytest.approx(EMPHASIS["python"])


def test_a_documented_copy_comes_as_often_as_its_pair() -> None:
    pairs = [
        Pair(project, "go", "function", "f", f"func {project}{i}()", "// F does it.\n", 0, "Does it.")
        for project, size in (("small", 20), ("large", 400))
        for i in range(size)
    ]
    often: dict[str, list[float]] = {}
    for code, _, times in examples_of(pairs, 0):
        often.setdefault(code.removeprefix("// F does it.\n"), []).append(times)
    assert 420 * 0.2 < sum(len(times) == 2 for times in often.values()) < 420 * 0.5
    assert all(len(set(times)) == 1 for times in often.values())
    assert often["func small0()"][0] > often["func large0()"][0]
