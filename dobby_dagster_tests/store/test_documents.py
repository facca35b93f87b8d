"""Documents are stored with their summaries, and the full-text index follows every change of them, on each engine."""

from pathlib import Path

import pytest

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.search_words import query_words
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.maintenance.backup_file import restore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

ROWS = {"a::parseURL": "def parseURL(text): return split_host(text)", "b::area": "def area(r): return 3 * r"}


def filled(store: CozoStore, rows: dict[str, str] = ROWS) -> None:
    source, batch, members = batch_of(store, dict(rows))
    outcomes = [done(m, rows[m.version.key], text=f"Summary of {m.version.key[0]}.") for m in members]
    assert commit(store, source, batch, outcomes) == set()


def found(store: CozoStore, text: str, limit: int = 10) -> list[str]:
    return store.documents.ranked("record", query_words(text), limit)


@pytest.mark.parametrize("text", ["parseURL", "parse_url", "parsing urls", "split host", "splitHost", "SPLIT"])
def test_a_record_is_found_by_its_key_and_identifiers(store: CozoStore, text: str) -> None:
    filled(store)
    assert found(store, text) == ["a::parseURL"]


def test_both_are_found_by_their_summaries_and_the_limit_holds(store: CozoStore) -> None:
    filled(store)
    assert found(store, "summary") == sorted(ROWS)
    assert len(found(store, "summary", 1)) == 1


@pytest.mark.parametrize(
    "text",
    ["area AND parse", "area NOT parse", "NOT area", '"area', "are*", "NEAR(area", "area) OR (", "area^2", "'area\\"],
)
def test_operators_are_harmless_words(store: CozoStore, text: str) -> None:
    filled(store)
    assert set(found(store, text)) <= ROWS.keys()


def test_another_relation_is_not_found(store: CozoStore) -> None:
    filled(store)
    assert store.documents.ranked("other", ["area"], 10) == []
    assert store.documents.ranked("record", [], 10) == []


def test_a_new_summary_replaces_the_words_of_the_former(store: CozoStore) -> None:
    filled(store)
    rows = {"b::area": "def area(width, height): return width * height"}
    source, batch, members = batch_of(store, dict(rows))
    commit(store, source, batch, [done(members[0], rows["b::area"], text="Now a rectangle.")])
    assert found(store, "rectangle width") == ["b::area"]
    postings = "?[word] := *dobby_document:text{word, src_key: 'b::area'}"
    assert {row[0] for row in store.connection.run(postings).rows} >= {"rectangl", "width"}
    assert "summari" not in {row[0] for row in store.connection.run(postings).rows}, "a stale posting"


def test_what_is_not_stored_has_no_document(store: CozoStore) -> None:
    source, batch, members = batch_of(store, dict(ROWS))
    put(store, {"a::parseURL": "changed"})
    outcomes = [done(m, ROWS[m.version.key]) for m in members]
    assert commit(store, source, batch, outcomes) == {"a::parseURL"}
    assert found(store, "summary") == ["b::area"]


def test_redone_and_purged_summaries_have_no_document(store: CozoStore) -> None:
    filled(store)
    store.upkeep.redo("record", R, ["b::area"])
    assert found(store, "summary") == ["a::parseURL"]
    store.upkeep.purge(RecipeId("another"))
    assert found(store, "summary") == ["a::parseURL"]
    store.upkeep.purge(R)
    assert found(store, "summary") == []
    assert store.connection.run("?[count(word)] := *dobby_document:text{word}").rows == [[0]]


def missing(store: CozoStore, recipe: RecipeId = R) -> list[str]:
    keys = [key for page in store.documents.key_pages("record", 100) for key in page]
    return sorted(key for key, _, _ in store.documents.missing("record", recipe, keys))


def test_a_reused_summary_has_a_document_of_its_own(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"first": "def f(x): return x"})
    run(sqlite_store, FakeEngine())
    put(sqlite_store, {"second": "def f(x): return x"})
    run(sqlite_store, FakeEngine())
    assert found(sqlite_store, "second") == ["second"]
    assert missing(sqlite_store, RECIPE.id) == []


def test_missing_documents_are_listed_and_put(store: CozoStore) -> None:
    filled(store)
    assert missing(store) == []
    for end in (":rm dobby_document {source, key}", ":put dobby_unindexed {source, key}"):
        rows = [["record", key] for key in ROWS]
        store.connection.run(f"?[source, key] <- $rows {end}", {"rows": rows}, write=True)
    assert (missing(store), store.documents.unindexed("record")) == (sorted(ROWS), 2)
    first, second = store.documents.missing("record", R, sorted(ROWS))
    assert (first[0], first[2]) == ("a::parseURL", "Summary of a.")
    store.documents.put("record", R, [(*first[:2], "word")], done=["a::parseURL", "another"])
    assert (found(store, "word"), missing(store), store.documents.unindexed("record")) == ([first[0]], [second[0]], 1)


def test_a_commit_takes_its_records_off_the_list_of_the_unindexed(store: CozoStore) -> None:
    rows = [["record", key] for key in (*ROWS, "c")]
    store.connection.run("?[source, key] <- $rows :put dobby_unindexed {source, key}", {"rows": rows}, write=True)
    filled(store)
    assert store.documents.unindexed("record") == 1


def test_a_document_of_a_summary_that_is_gone_is_not_put(store: CozoStore) -> None:
    filled(store)
    store.documents.put("record", R, [(key, "another content", "word") for key in ROWS], done=[])
    assert found(store, "word") == []


def test_a_record_that_changed_or_is_deleted_lacks_no_document(store: CozoStore) -> None:
    filled(store)
    store.connection.run("?[source, key] := *dobby_document{source, key} :rm dobby_document {source, key}", write=True)
    put(store, {"b::area": "changed"})
    store.connection.run("?[key] <- [['a::parseURL']] :rm record {key}", write=True)
    plan(store, store.source(SourceSettings()), 10)
    assert missing(store) == []


def test_a_word_that_all_have_finds_the_first_by_their_keys(store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store)
    monkeypatch.setattr("dobby_dagster.domain.word_frequencies.TOO_COMMON", 1)
    assert found(store, "summary", 1) == ["a::parseURL"]
    assert found(store, "summary of") == sorted(ROWS)
    assert found(store, "summary area") == ["b::area", "a::parseURL"]


def test_the_frequencies_of_words_are_those_of_the_documents(sqlite_store: CozoStore) -> None:
    rows = {f"k{i:03d}": f"common {'rare' if i == 7 else ''}" for i in range(30)}
    filled(sqlite_store, rows)
    found = sqlite_store.documents.frequencies("record")
    assert (found.documents, found.sampled) == (30, 30)
    assert (found.expected("common"), found.expected("commons"), found.expected("rare")) == (30, 30, 1)
    assert found.expected("nowhere") == 0
    assert sqlite_store.documents.frequencies("another").expected("common") == 0


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("rocksdb", marks=pytest.mark.slow)])
def test_a_restored_database_finds_the_same(sqlite_store: CozoStore, tmp_path: Path, engine: str) -> None:
    filled(sqlite_store)
    sqlite_store.backup(tmp_path / "copy.db")
    settings = DatabaseSettings(url=f"{engine}:///{tmp_path}/restored.db")
    restore(settings, tmp_path / "copy.db")
    restored = CozoStore.open(settings)
    assert found(restored, "parse") == ["a::parseURL"]
    filled(restored, {"c": "def third(): pass"})
    assert found(restored, "third") == ["c"]
    restored.close()
