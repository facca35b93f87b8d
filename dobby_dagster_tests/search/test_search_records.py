"""Search over a real database: which records are found, in which state, and what is said of the index."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.settings import SearchSettings, SourceSettings
from dobby_dagster.pipeline.reporting.record_list import RecordFilter
from dobby_dagster.search import search_records
from dobby_dagster.search.search_index import update_all
from dobby_dagster.search.search_records import Hit, SearchResult, search
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

AREA, HOST, HOSTS = "shape/area.py::area", "net/host.py::splitHost", "net/host.py::Hosts"


@dataclass
class Fixed:
    """A retriever with a fixed ranking."""

    keys: Sequence[str]
    way: str = "vector"

    def ranked(self, text: str, limit: int, prefix: str = "") -> list[str]:
        return list(self.keys)[:limit]

    def problem(self) -> str:
        return "it is blind"

    def behind(self) -> str:
        return "2 vectors missing"


@pytest.fixture
def filled(sqlite_store: CozoStore) -> CozoStore:
    rows = [
        [AREA, "def area(radius): return 3 * radius * radius", "function", "python", {"path": "shape/area.py", "line": 4}],
        [HOST, "def splitHost(url): return url.split()", "function", "python", {"path": 7, "line": True}],
        [HOSTS, "class Hosts { constructor(names) {} }", "class", "javascript", {}],
        ["broken", "FAIL host", "function", "python", {}],
    ]  # fmt: skip
    columns = "key, content, content_type, language, metadata"
    put_rows = f"?[{columns}] <- $rows :put record {{key => content, content_type, language, metadata}}"
    sqlite_store.connection.run(put_rows, {"rows": rows}, write=True)
    sqlite_store.recipes.remember(RECIPE)
    run(sqlite_store, FakeEngine())
    return sqlite_store


def of(store: CozoStore, text: str, wanted: RecordFilter | None = None, **how: object) -> SearchResult:
    settings = SearchSettings(embedding="none")
    return search(store, store.source(SourceSettings()), RECIPE.id, text, wanted, settings=settings, **how)  # type: ignore[arg-type]


def keys(result: SearchResult) -> list[str]:
    return [hit.key for hit in result.hits]


def test_a_hit_has_what_is_known_of_its_record(filled: CozoStore) -> None:
    result = of(filled, "radius of the area")
    [entry] = filled.reports.rows_at(filled.source(SourceSettings()), RECIPE.id, [AREA])
    assert result == SearchResult(
        [
            Hit(
                AREA, "shape/area.py", 4, None, "function", "python", "completed", entry["summary"],
                entry["confidence"], False, ("text",), 1 / 61,
            )
        ],
        False,
    )  # fmt: skip


def test_metadata_of_another_type_is_unknown(filled: CozoStore) -> None:
    [hit] = of(filled, "splitHost", limit=1).hits
    assert (hit.key, hit.path, hit.line) == (HOST, None, None)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (RecordFilter(), {HOST, HOSTS}),
        (RecordFilter(language="javascript"), {HOSTS}),
        (RecordFilter(kind="function"), {HOST}),
        (RecordFilter(prefix="net/host.py::H"), {HOSTS}),
        (RecordFilter(prefix="shape"), set()),
        (RecordFilter(state="failed"), set()),
        (RecordFilter(below=0.0), set()),
        (RecordFilter(stale=True), set()),
    ],
)
def test_filters(filled: CozoStore, wanted: RecordFilter, expected: set[str]) -> None:
    assert set(keys(of(filled, "host", wanted))) == expected


def test_pages_have_every_hit_once(filled: CozoStore) -> None:
    everything = keys(of(filled, "host radius"))
    assert len(everything) == 3
    pages = [of(filled, "host radius", limit=1, page=page) for page in (1, 2, 3, 4)]
    assert [key for page in pages for key in keys(page)] == everything
    assert [page.more for page in pages] == [True, True, False, False]


def test_a_record_that_changed_is_stale_and_one_that_is_deleted_is_not_found(filled: CozoStore) -> None:
    before = of(filled, "area").hits[0].summary
    put(filled, {AREA: "def area(side): return side * side"})
    filled.connection.run("?[key] <- $keys :rm record {key}", {"keys": [[HOST]]}, write=True)
    [hit] = of(filled, "area").hits
    assert (hit.stale, hit.summary, hit.state) == (True, before, "pending")
    assert keys(of(filled, "area", RecordFilter(stale=True))) == [AREA]
    assert keys(of(filled, "splitHost")) == [HOSTS]


@pytest.mark.parametrize("text", ["", "the of", "?!", "\x1b[", "*"])
def test_a_text_without_a_word_is_refused_by_name(filled: CozoStore, text: str) -> None:
    with pytest.raises(SettingsError, match="no word to search for"):
        of(filled, text)


def test_ways_are_fused_and_unknown_keys_are_left_out(filled: CozoStore) -> None:
    from dobby_dagster.search.text_retriever import TextRetriever

    ways = [TextRetriever(filled, "record"), Fixed([AREA, "gone", "broken", HOST])]
    result = of(filled, "splitHost", retrievers=ways)
    assert [(hit.key, hit.ways) for hit in result.hits] == [
        (HOST, ("text", "vector")), (HOSTS, ("text",)), (AREA, ("vector",)),
    ]  # fmt: skip
    result = of(filled, "splitHost into its parts", retrievers=ways)  # a sentence is searched by meaning first
    assert [hit.key for hit in result.hits] == [HOST, AREA, HOSTS]
    assert (result.index_behind, result.problems) == (("2 vectors missing",), ("it is blind",))


def test_what_is_not_indexed_is_said(filled: CozoStore) -> None:
    rows = [["record", AREA], ["another", AREA]]
    filled.connection.run("?[source, key] <- $rows :put dobby_unindexed {source, key}", {"rows": rows}, write=True)
    assert of(filled, "host").index_behind == ("1 record not in the full-text index",)


def test_under_a_recipe_without_summaries_nothing_is_found(filled: CozoStore) -> None:
    assert search(filled, filled.source(SourceSettings()), None, "area") == SearchResult([], False)


def test_a_purge_of_the_recipe_that_was_indexed_last_is_told_and_made_up_for(filled: CozoStore) -> None:
    other = replace(RECIPE, prompt_text="another")
    filled.recipes.remember(other)
    run(filled, FakeEngine(), recipe=other)
    filled.upkeep.purge(other.id)
    assert of(filled, "radius of the area").index_behind == ("3 records not in the full-text index",)
    assert update_all(filled, filled.source(SourceSettings()), RECIPE.id) == 3
    assert (keys(of(filled, "radius of the area")), of(filled, "area").index_behind) == ([AREA], ())


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (RecordFilter(kind="class"), [HOSTS]),
        (RecordFilter(language="javascript"), [HOSTS]),
        (RecordFilter(kind="class", language="python"), []),
        (RecordFilter(kind="function", below=0.0), []),
        (RecordFilter(kind="class", below=1.1), [HOSTS]),
        (RecordFilter(kind="text"), []),
    ],
)
def test_of_a_filter_that_leaves_few_only_those_are_read(
    filled: CozoStore, monkeypatch: pytest.MonkeyPatch, wanted: RecordFilter, expected: list[str]
) -> None:
    monkeypatch.setattr(search_records, "CANDIDATES", 1)
    whole, read = filled.reports.rows_at, []
    monkeypatch.setattr(filled.reports, "rows_at", lambda *given: read.extend(given[2]) or whole(*given))
    ways = [Fixed(["broken", HOST, AREA, HOSTS])]
    result = of(filled, "host", wanted, retrievers=ways, limit=1)
    assert (keys(result), result.more) == (expected, False)
    assert sorted(read[2:]) == expected


@pytest.mark.slow
def test_a_filter_finds_what_very_many_better_records_come_before(sqlite_store: CozoStore) -> None:
    last = "z/last.py::get_user"
    rows = [[f"a/{i:04d}.py::get_user", f"get user {i}", "function"] for i in range(6_000)] + [
        [last, "get user", "class"]
    ]
    put_rows = "?[key, content, content_type] <- $rows :put record {key => content, content_type}"
    sqlite_store.connection.run(put_rows, {"rows": rows}, write=True)
    sqlite_store.recipes.remember(RECIPE)
    run(sqlite_store, FakeEngine())
    assert keys(of(sqlite_store, "get user", RecordFilter(prefix="z/"))) == [last]
    assert keys(of(sqlite_store, "get user", RecordFilter(prefix=last))) == [last]
    assert keys(of(sqlite_store, "get user", RecordFilter(kind="class"))) == [last]
    assert len(keys(of(sqlite_store, "get user", RecordFilter(prefix="a/"), limit=3))) == 3
