"""``dobby diff``: two recipes over the same records."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.pipeline.reporting.recipe_comparison import compare, word_overlap
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers import pipeline_run
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.records import put

WHERE = ("--database", "sqlite:///code.db")
OTHER = replace(pipeline_run.RECIPE, model="other", model_revision="1")


@pytest.fixture
def store() -> CozoStore:
    """Four records under one recipe; three of them, and a fifth one, under another."""
    opened = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    put(opened, {f"k{i}": f"def f{i}(): return {i}" for i in range(4)})
    opened.recipes.remember(pipeline_run.RECIPE)
    pipeline_run.run(opened, FakeEngine())
    put(opened, {"k3": "FAIL", "k4": "def f4(): return 4"})
    opened.recipes.remember(OTHER)
    pipeline_run.run(opened, FakeEngine(), recipe=OTHER)
    return opened


def test_two_models_side_by_side(dobby: Dobby, store: CozoStore) -> None:
    found = dobby("diff", "--model", "fake", "--model", "other", *WHERE, "--json").json
    assert found["models"] == {"first": "fake", "second": "other"}
    assert (found["both"], found["identical"], found["only_first"], found["only_second"]) == (3, 3, 0, 1)
    assert found["overlap_mean"] == 1
    assert [pair["key"] for pair in found["pairs"]] == ["k0", "k1", "k2"]
    assert found["pairs"][0]["first"] == store.reports.state_of("record", "k0", OTHER.id)["summary"]
    assert dobby("diff", *WHERE, "--json").json == found, "the two used last, the older one first"
    store.recipes.use(pipeline_run.RECIPE.id)
    assert dobby("diff", *WHERE, "--json").json == found, "as after a redo, whose recipe is used last for a moment only"
    turned = dobby("diff", "-m", OTHER.id, "-m", "fake", *WHERE, "--json").json
    assert (turned["only_first"], turned["only_second"]) == (1, 0)
    plain = dobby("diff", "-n", 1, *WHERE).out
    assert "3 records with both summaries: 3 identical, 100% of the words in common" in plain
    assert "k1" not in plain
    assert dobby("diff", "-n", 0, *WHERE).out == plain[plain.index("3 records with both") :], "only the totals"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("fake",), "--model is given 1 time (give it twice"),
        (("fake", "othr"), "there are no summaries by 'othr' (did you mean 'other'?"),
        (("fake", "fake"), "'fake' and 'fake' have the same summaries, and a comparison needs two recipes"),
        (
            ("fake", "dobby-code-11m"),
            "by 'dobby-code-11m' (summarise with it first, which puts it in use: dobby summarize ",
        ),
    ],
)
def test_a_wrong_choice_is_named(dobby: Dobby, store: CozoStore, models: tuple[str, ...], message: str) -> None:
    answer = dobby("diff", *(word for name in models for word in ("--model", name)), *WHERE)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err


def test_a_model_and_one_of_its_recipes_are_two(dobby: Dobby, store: CozoStore) -> None:
    again = replace(OTHER, model_revision="2")
    store.recipes.remember(again)
    pipeline_run.run(store, FakeEngine(), recipe=again)
    for chosen, wanted in (
        (("other", again.id), (OTHER.id, again.id)),
        (("other", OTHER.id), (again.id, OTHER.id)),
        (("other", "other"), (again.id, OTHER.id)),
    ):
        found = dobby("diff", "-m", chosen[0], "-m", chosen[1], *WHERE, "--json").json
        assert found["recipes"] == dict(zip(("first", "second"), wanted, strict=True))


def test_one_recipe_is_too_few(dobby: Dobby) -> None:
    CozoStore.open(DatabaseSettings(url="sqlite:///code.db")).close()
    assert "there are summaries by 0 recipes, and a comparison needs two" in dobby("diff", *WHERE).err


@pytest.mark.usefixtures("default_model")
@pytest.mark.parametrize(
    ("used", "suggested"), [("dobby-code-11m", "dobby-code-73m"), ("dobby-code-73m", "dobby-code-11m")]
)
def test_the_suggested_model_is_another_one(dobby: Dobby, used: str, suggested: str) -> None:
    opened = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    put(opened, {"k": "def f(): return 1"})
    only = replace(pipeline_run.RECIPE, model=used)
    opened.recipes.remember(only)
    pipeline_run.run(opened, FakeEngine(), recipe=only)
    answer = dobby("diff", *WHERE)
    assert "there are summaries by 1 recipe" in answer.err
    assert f"which puts it in use: dobby summarize --database sqlite:///code.db --model {suggested})" in answer.err


texts = st.text("ab ", max_size=6)
sides = st.dictionaries(st.sampled_from("klmn"), st.none() | texts, max_size=4)


@given(sides, sides)
def test_every_record_is_counted_once_on_the_side_that_it_is_on(one: dict, other: dict) -> None:
    rows = [[{"key": key, "summary": side[key], "confidence": None} for key in sorted(side)] for side in (one, other)]
    found = compare(*rows, limit=9)
    assert replace(found, pairs=[]) == compare(*rows, limit=0)
    named = [{key for key, text in side.items() if text} for side in (one, other)]
    assert {pair.key for pair in found.pairs} == named[0] & named[1]
    assert (found.both, found.only_first, found.only_second) == (
        len(named[0] & named[1]), len(named[0] - named[1]), len(named[1] - named[0])
    )  # fmt: skip
    assert (found.first_confidence, found.second_confidence) == (None, None)


@given(texts, texts)
def test_the_overlap_is_a_share_and_the_same_either_way(one: str, other: str) -> None:
    assert 0 <= word_overlap(one, other) == word_overlap(other, one) <= 1
    assert word_overlap(one, one) == 1
