"""The index is brought up to date: all at once, a batch at a time, and on from where it was interrupted."""

from collections.abc import Callable

import pytest

from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.domain.search_words import query_words
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.search import search_index
from dobby_dagster.search.search_index import update_all, update_batch
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.migrations import MIGRATIONS, add_documents
from dobby_dagster.store.ledger.schema import migrate
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, run
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.run_world import RunWorld, values_of
from dobby_dagster_tests.helpers.world import Make

CODE = {f"k{i:02d}": f"def add_{i}(left, right_{i}): return left" for i in range(45)}


@pytest.fixture
def former(sqlite_store: CozoStore) -> CozoStore:
    """A database as an earlier version left it: summaries without documents."""
    put(sqlite_store, dict(CODE))
    run(sqlite_store, FakeEngine())
    connection, before = sqlite_store.connection, MIGRATIONS.index(add_documents)
    connection.run("::fts drop dobby_document:text", write=True)
    connection.run("::index drop dobby_document:by_recipe", write=True)
    connection.run("::remove dobby_document", write=True)
    connection.run(
        "?[name, value] <- [['schema_version', $v]] :put dobby_meta {name => value}", {"v": before}, write=True
    )
    migrate(connection)
    return CozoStore(connection)


def missing(store: CozoStore, recipe: Recipe) -> int:
    keys = [key for page in store.documents.key_pages("record", 100) for key in page]
    return len(store.documents.missing("record", recipe.id, keys))


def found(store: CozoStore, text: str) -> list[str]:
    return store.documents.ranked("record", query_words(text), 100)


def test_an_upgraded_database_is_indexed_once(former: CozoStore) -> None:
    source = former.source(SourceSettings())
    pages: list[int] = []
    assert (found(former, "left"), missing(former, RECIPE), former.documents.unindexed("record")) == ([], 45, 45)
    assert update_all(former, source, RECIPE.id, pages.append) == 45
    assert (found(former, "right_7")[0], sum(pages)) == ("k07", 45)
    assert sorted(found(former, "left")) == sorted(CODE)
    assert (missing(former, RECIPE), former.documents.unindexed("record")) == (0, 0)
    assert update_all(former, source, RECIPE.id) == 0


def test_it_goes_on_where_it_was_interrupted(former: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "PAGE", 10)
    source = former.source(SourceSettings())

    def stop(records: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update_all(former, source, RECIPE.id, stop)
    assert former.documents.unindexed("record") == missing(former, RECIPE) == 35
    assert update_all(former, source, RECIPE.id) == 35


def test_one_batch(former: CozoStore) -> None:
    source = former.source(SourceSettings())
    assert update_batch(former, source, Scope(RECIPE.id, BatchId("batch-000001"))) == 20
    assert missing(former, RECIPE) == 25


def test_a_content_that_changed_since_is_not_indexed_with_the_former_summary(former: CozoStore) -> None:
    put(former, {"k07": "def quite_another(thing): return thing"})
    assert update_all(former, former.source(SourceSettings()), RECIPE.id) == 45
    assert found(former, "quite another thing") == []
    assert "k07" in found(former, "k07")


def test_a_former_recipe_that_is_used_again_is_indexed_again(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"k": "def f(x): return x"})
    other = Recipe(PROMPT.name, PROMPT.text, "other", "1", {})
    for recipe in (RECIPE, other, RECIPE):
        run(sqlite_store, FakeEngine(), recipe=recipe)
    assert missing(sqlite_store, other) == 0
    assert missing(sqlite_store, RECIPE) == 1
    assert update_all(sqlite_store, sqlite_store.source(SourceSettings()), RECIPE.id) == 1


def test_the_asset_indexes_the_batches_of_its_run(make_settings: Make) -> None:
    from dobby_dagster.defs.assets import pending_records, search_index, summaries

    world = RunWorld(make_settings(pipeline__batch_size=2, model__device="cpu", model__path="dobby-code-11m"))
    put(world.store, {f"k{i}": f"def add_{i}(a, b):\n    return a + b + {i}\n" for i in range(4)})
    first, second = world.plan()
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": second}
    assert world.materialize([pending_records, summaries], tags=tags).success
    remove: Callable[..., object] = world.store.connection.run
    remove("?[source, key] := *dobby_document{source, key} :rm dobby_document {source, key}", write=True)
    for expected in (2, 0):
        result = world.materialize([pending_records, summaries, search_index], tags=tags, selection=[search_index])
        assert result.success
        values = values_of(result, "search_index")
        assert {partition: value["documents_added"] for partition, value in values.items()} == {
            first: expected, second: expected,
        }  # fmt: skip
        assert {value["vectors_added"] for value in values.values()} == {expected}
