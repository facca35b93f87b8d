"""``dobby search``: what a person types and reads."""

from pathlib import Path

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

WHERE = ("--database", "sqlite:///code.db")
CODE = (
    "def split_host(url):\n    return url.split('/')\n\n\n"
    "def area(radius):\n    return 3 * radius * radius\n\n\n"
    "class UrlParser:\n    def parse(self, text):\n        return text\n"
)


@pytest.fixture
def tree(dobby: Dobby) -> CozoStore:
    Path("src").mkdir()
    Path("src/net.py").write_text(CODE)
    Path("src/shape.js").write_text("function circleArea(radius) { return radius }\n")
    assert dobby("ingest", "src", *WHERE).code == 0
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    assert dobby("search", "--update", *WHERE).code == 0
    return store


def keys(dobby: Dobby, *arguments: object) -> list[str]:
    answer = dobby("search", *arguments, *WHERE, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["index_behind"] == []
    return [hit["key"] for hit in answer.json["hits"]]


def test_words_need_no_quotes_and_a_hit_has_its_place(dobby: Dobby, tree: CozoStore) -> None:
    answer = dobby("search", "area", "of", "a", "radius", *WHERE, "--json")
    first = answer.json["hits"][0]
    assert {name: first[name] for name in ("key", "path", "line", "name", "ways", "stale")} == {
        "key": "src/net.py::area", "path": "src/net.py", "line": 5, "name": "area", "ways": ["text", "vector"], "stale": False,
    }  # fmt: skip
    assert first["summary"]
    assert first["confidence"] is not None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("splitHost",), ["src/net.py::split_host"]),
        (("radius", "--language", "JavaScript"), ["src/shape.js::circleArea"]),
        (("radius", "--prefix", "src/net"), ["src/net.py::area"]),
        (("UrlParser", "--kind", "class"), ["src/net.py::UrlParser"]),
        (("radius", "--stale"), []),
        (("radius", "--below", "0"), []),
        (("nowhere",), []),
        (("--", "--radius"), ["src/net.py::area", "src/shape.js::circleArea"]),
    ],
)
def test_filters(dobby: Dobby, tree: CozoStore, arguments: tuple[object, ...], expected: list[str]) -> None:
    before = (*WHERE, "--json")
    answer = dobby("search", *before, *arguments)
    assert answer.code == 0, answer.err
    assert sorted(hit["key"] for hit in answer.json["hits"]) == expected


def test_what_a_record_says_is_no_escape_sequence(dobby: Dobby, tree: CozoStore) -> None:
    put(tree, {"evil\x1b[31m\u202e": "def evil(): return evil"})
    run(tree, FakeEngine())
    answer = dobby("search", "evil", *WHERE)
    assert "evil\\x1b[31m\\u202e" in answer.out
    assert {"\x1b", "\u202e"}.isdisjoint(answer.out)


def test_pages(dobby: Dobby, tree: CozoStore) -> None:
    everything = keys(dobby, "src")
    assert [key for page in (1, 2, 3) for key in keys(dobby, "src", "-n", 2, "--page", page)] == everything
    assert len(everything) == 5


def test_a_hit_says_how_a_record_was_found_and_that_it_changed(dobby: Dobby, tree: CozoStore) -> None:
    put(tree, {"src/net.py::area": "def area(side): return side"})
    answer = dobby("search", "area", *WHERE)
    assert answer.code == 0
    [first] = [hit for hit in answer.out.split("\nsrc/") if hit.removeprefix("src/").startswith("net.py::area")]
    assert "changed since, confidence" in first
    assert "found by text" in first
    assert "src/shape.js::circleArea  line 1\n" in answer.out
    assert dobby("search", "nowhere", *WHERE).out == "Nothing was found.\n"
    assert dobby("search", "area", *WHERE, "--page", "9").out == "There is no page 9.\n"
    assert "There is more: --page 2" in dobby("search", "area", *WHERE, "-n", "1").err


@pytest.mark.parametrize("text", ["the of", "?!", "\x1b[31m;", " "])
def test_a_text_without_a_word_is_one_clear_line(dobby: Dobby, tree: CozoStore, text: str) -> None:
    answer = dobby("search", text, *WHERE)
    assert (answer.code, answer.out) == (1, "") if text != "\x1b[31m;" else answer.code == 0
    assert "\x1b" not in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "message"), [((), "what to search for is missing"), (("a", "--update"), "--update takes no text")]
)
def test_a_text_or_an_update(dobby: Dobby, tree: CozoStore, arguments: tuple[str, ...], message: str) -> None:
    answer = dobby("search", *arguments, *WHERE)
    assert answer.code != 0
    assert message in answer.err


def test_an_index_that_is_behind_is_said_and_brought_up_to_date(dobby: Dobby, tree: CozoStore) -> None:
    for block in (":rm dobby_document", ":put dobby_unindexed"):
        tree.connection.run(f"?[source, key] <- [['record', 'src/net.py::area']] {block} {{source, key}}", write=True)
    answer = dobby("search", "radius", *WHERE)
    assert "1 record not in the full-text index" in answer.err
    assert "search --update" in answer.err
    [finding] = [each for each in dobby("doctor", *WHERE, "--json").json if each["name"] == "search"]
    assert finding["message"] == "1 record not in the full-text index"
    assert dobby("search", "--update", *WHERE).out == "Added to the index: the words of 1 summary, 0 vectors.\n"
    assert dobby("search", "--update", *WHERE).out == "The index is up to date.\n"
    assert sorted(keys(dobby, "radius")) == ["src/net.py::area", "src/shape.js::circleArea"]


def test_vectors_that_are_missing_are_named_by_doctor_and_made_by_an_update(dobby: Dobby, tree: CozoStore) -> None:
    key = "source, recipe, batch"
    tree.connection.run(f"?[{key}] := *dobby_vector_batch{{{key}}} :rm dobby_vector_batch {{{key}}}", write=True)
    [finding] = [each for each in dobby("doctor", *WHERE, "--json").json if each["name"] == "search"]
    assert "not in the vector index" in finding["message"]
    assert "search --update" in finding["remedy"]
    assert dobby("search", "--update", *WHERE).code == 0
    assert [each for each in dobby("doctor", *WHERE, "--json").json if each["name"] == "search"] == []


def test_without_any_summary_the_way_to_them_is_told(dobby: Dobby) -> None:
    Path("one.py").write_text("def one():\n    return 1\n")
    assert dobby("ingest", "one.py", *WHERE).code == 0
    answer = dobby("search", "one", *WHERE)
    assert (answer.code, answer.out) == (1, "")
    assert "no record of 'record' has been summarised yet (run dobby summarize" in answer.err
    assert dobby("search", "--update", *WHERE).out == "The index is up to date.\n"
