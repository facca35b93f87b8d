"""Vectors over a real database: what is made, what is kept, and that no former summary finds a record."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.scope import BatchId
from dobby_dagster.domain.settings import DatabaseSettings, SearchSettings, SourceSettings
from dobby_dagster.inference.embedding.static_embedding import StaticEmbedder
from dobby_dagster.search import vector_index
from dobby_dagster.search.loaded_vectors import HELD, loaded_vectors
from dobby_dagster.search.search_records import search
from dobby_dagster.search.vector_index import batches_behind, embedding_id, index_batch, index_if_possible
from dobby_dagster.search.vector_retriever import VectorRetriever
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.vectors import DIGEST_BYTES, VectorBatch
from dobby_dagster_tests.helpers.embeddings import word_embedding
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.model_server import Scripted
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

WORDS = ["circle", "radius", "host", "port", "url", "queue"]


class World:
    """A database with an embedding that knows a few words."""

    def __init__(self, store: CozoStore, folder: Path) -> None:
        self.store = store
        self.settings = SearchSettings(embedding=str(word_embedding(folder, WORDS)))
        self.embedder = StaticEmbedder(folder)
        self.source = store.source(SourceSettings())
        store.recipes.remember(RECIPE)

    def summarize(self, **contents: str) -> None:
        put(self.store, dict(contents))
        run(self.store, FakeEngine())

    def index(self) -> dict[BatchId, int]:
        """Bring all batches up to date; how many vectors were made of each."""
        return {batch: self.index_one(batch) for batch in self.behind()}

    def index_one(self, batch: BatchId) -> int:
        made, problem = index_if_possible(self.store, self.source, RECIPE.id, batch, self.settings)
        assert not problem
        return made

    def behind(self) -> dict[BatchId, int]:
        return batches_behind(self.store, self.source, RECIPE.id, self.embedder)

    def found(self, text: str, limit: int = 10) -> list[str]:
        return self.retriever.ranked(text, limit)

    @property
    def retriever(self) -> VectorRetriever:
        return VectorRetriever(self.store, self.source, RECIPE.id, self.settings)


@pytest.fixture
def world(any_store: CozoStore, tmp_path: Path) -> World:
    return World(any_store, tmp_path / "embedding")


def test_records_are_found_by_the_words_that_the_embedding_knows(world: World) -> None:
    world.summarize(a="circle radius radius", b="host port", c="host url url")
    assert world.found("radius") == []
    assert world.retriever.behind() == "3 summaries not in the vector index"
    assert list(world.index().values()) == [3]
    assert world.found("a radius of a circle") == ["a"]
    assert world.found("host and port") == ["b", "c"]
    assert world.found("host and port", limit=1) == ["b"]
    assert world.found("queue") == world.found("nothing known") == []
    assert world.retriever.behind() == ""


def test_fewer_than_asked_for_are_found_only_where_there_are_no_more(world: World) -> None:
    world.summarize(a="circle", b="circle radius", c="circle radius port", d="circle radius port url")
    world.index()
    put(world.store, {"a": "host", "b": "host"})
    run(world.store, FakeEngine())
    assert world.found("circle", limit=1) == ["c"]
    assert world.found("circle", limit=2) == world.found("circle", limit=9) == ["c", "d"]
    assert world.retriever.ranked("circle", 1, prefix="d") == ["d"]
    assert world.retriever.ranked("circle", 1, prefix="a") == []


@pytest.mark.parametrize("vectors", [b"\x01\x02\x03", b"\x01" * 12, b""])
@pytest.mark.parametrize("damaged", [0, 1])
def test_vectors_of_another_size_hold_up_no_search(world: World, vectors: bytes, damaged: int) -> None:
    world.summarize(a="circle", b="host")
    world.index()
    world.summarize(c="circle radius", d="host", e="port")
    world.index()
    batch, stored = list(world.store.vectors.batches("record", RECIPE.id).items())[damaged]
    page = world.store.vectors.page("record", RECIPE.id, batch, 0, stored.embedding)
    assert page is not None
    broken = replace(page, vectors=vectors)
    world.store.vectors.put_page("record", RECIPE.id, batch, 0, stored.embedding, broken)
    assert set(world.found("circle")) <= {"a", "c"}
    assert damaged or world.found("circle") == ["c"]


def test_a_damaged_first_page_hides_only_its_own_records(world: World) -> None:
    world.summarize(a="circle", b="host")
    world.index()
    vectors = world.store.vectors
    [(batch, stored)] = vectors.batches("record", RECIPE.id).items()
    page = vectors.page("record", RECIPE.id, batch, 0, stored.embedding)
    assert page is not None
    broken = replace(page, keys=["x"], digests=page.digests[:DIGEST_BYTES], vectors=b"\x01" * 3)
    vectors.put_page("record", RECIPE.id, batch, 0, stored.embedding, broken)
    vectors.put_page("record", RECIPE.id, batch, 1, stored.embedding, page)
    vectors.put_batch("record", RECIPE.id, batch, replace(stored, pages=2, stamp="damaged"))
    assert loaded_vectors(world.store, "record", RECIPE.id, stored.embedding).keys == ["a", "b"]
    assert world.found("circle") == ["a"]


def test_a_process_holds_only_the_vectors_that_were_read_last(world: World) -> None:
    world.summarize(a="circle")
    world.index()
    first = loaded_vectors(world.store, "record", RECIPE.id, embedding_id(world.embedder))
    assert first is loaded_vectors(world.store, "record", RECIPE.id, embedding_id(world.embedder))
    freed = weakref.ref(first.rows)
    del first
    for other in range(HELD):
        loaded_vectors(world.store, "record", RECIPE.id, f"other {other}")
    assert freed() is None
    assert world.found("circle") == ["a"]


def test_a_database_that_is_slow_to_read_holds_up_no_search_of_another(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.summarize(a="circle")
    world.index()
    embedding, reading, go_on = embedding_id(world.embedder), threading.Event(), threading.Event()
    slow = CozoStore.open(DatabaseSettings(url=f"sqlite:///{tmp_path / 'slow.db'}"))

    def batches(*_: object) -> dict[BatchId, VectorBatch]:
        reading.set()
        assert go_on.wait(30)
        return {}

    monkeypatch.setattr(slow.vectors, "batches", batches)
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(loaded_vectors, slow, "record", RECIPE.id, embedding)
        try:
            assert reading.wait(30)
            other = threads.submit(loaded_vectors, world.store, "record", RECIPE.id, embedding)
            assert other.result(10).keys == ["a"]
        finally:
            go_on.set()
        assert waiting.result(10).keys == []


def test_only_what_changed_is_embedded_and_doing_it_again_changes_nothing(world: World) -> None:
    world.summarize(a="circle", b="host")
    assert list(world.index().values()) == [2]
    [batch] = world.store.vectors.batches("record", RECIPE.id)
    before = world.store.vectors.batches("record", RECIPE.id)
    assert index_batch(world.store, world.source, RECIPE.id, batch, world.embedder) == 0
    assert world.store.vectors.batches("record", RECIPE.id) == before
    assert world.index() == {}
    world.summarize(b="queue")
    assert sum(world.index().values()) == 1
    assert (world.found("host"), world.found("queue"), world.found("circle")) == ([], ["b"], ["a"])


def test_a_vector_of_a_former_content_or_of_a_deleted_record_finds_nothing(world: World) -> None:
    world.summarize(a="circle", b="circle radius", c="circle port")
    world.index()
    assert set(world.found("circle")) == {"a", "b", "c"}
    world.summarize(a="url")
    world.store.records.remove(["b"])
    run(world.store, FakeEngine())
    assert world.found("circle") == ["c"]
    assert list(world.behind().values()) == [1]
    world.index()
    assert (world.found("url"), world.found("circle")) == (["a"], ["c"])


def test_a_summary_that_is_redone_is_found_again_only_by_its_new_vector(world: World) -> None:
    world.summarize(a="circle", b="circle host")
    world.index()
    world.store.upkeep.redo("record", RECIPE.id, ["a"])
    assert world.found("circle") == ["b"]
    world.store.connection.run(
        "?[source, key, fingerprint, text] := *dobby_summary{source, key, fingerprint}, text = 'Another.'"
        " :update dobby_summary {source, key, fingerprint => text}",
        write=True,
    )
    assert world.found("circle") == []
    run(world.store, FakeEngine())
    assert world.behind()
    assert sum(world.index().values()) == 1
    assert set(world.found("circle")) == {"a", "b"}


def test_vectors_of_another_embedding_are_not_used(world: World, tmp_path: Path) -> None:
    world.summarize(a="circle")
    world.index()
    other = World(world.store, tmp_path / "other")
    other.settings = SearchSettings(embedding=str(word_embedding(tmp_path / "other", [*WORDS, "more"])))
    other.embedder = StaticEmbedder(tmp_path / "other")
    assert other.found("circle") == []
    assert other.retriever.behind() == "1 summary not in the vector index"
    other.index()
    assert (other.found("circle"), other.retriever.behind()) == (["a"], "")
    assert (world.found("circle"), world.retriever.behind()) == ([], "1 summary not in the vector index")


def test_a_batch_of_several_pages_is_indexed_whole_and_goes_on_after_a_stop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "PAGE", 3)
    world.summarize(**{f"k{i}": f"circle {WORDS[i % 6]}" for i in range(8)})
    put_page = world.store.vectors.put_page
    stored: list[object] = []

    def stops(*arguments: object) -> None:
        if len(stored) == 2:
            raise KeyboardInterrupt
        stored.append(arguments)
        put_page(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.store.vectors, "put_page", stops)
    with pytest.raises(KeyboardInterrupt):
        world.index()
    monkeypatch.undo()
    monkeypatch.setattr(vector_index, "PAGE", 3)
    assert list(world.behind().values()) == [8]
    assert list(world.index().values()) == [2]
    assert len(world.found("circle")) == 8


def test_a_purge_leaves_no_vectors(world: World) -> None:
    world.summarize(a="circle")
    world.index()
    world.store.upkeep.purge(RECIPE.id)
    for relation in ("dobby_vector", "dobby_vector_batch"):
        assert world.store.connection.run(f"?[count(batch)] := *{relation}{{batch}}").rows == [[0]]
    assert world.found("circle") == []


def test_a_record_that_is_edited_while_it_is_embedded_gets_no_vector(world: World) -> None:
    world.summarize(a="circle", b="circle")
    put(world.store, {"a": "host"})
    assert list(world.index().values()) == [1]
    assert world.found("circle") == ["b"]


def one_axis(_: int, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """The same vector for each text."""
    return 200, {}, {"data": [{"index": place, "embedding": [1, 0]} for place in range(len(body["input"]))]}


def test_a_search_by_words_goes_on_where_the_embedding_server_is_gone(world: World) -> None:
    world.summarize(a="circle")
    gone = SearchSettings(url="http://127.0.0.1:9/v1", served_name="small")
    [batch] = world.behind()
    with Scripted(one_axis) as server:
        world.settings = SearchSettings(url=server.url, served_name="small")
        assert world.index_one(batch) == 1
        assert world.found("anything") == ["a"]
    assert index_if_possible(world.store, world.source, RECIPE.id, batch, gone)[0] == 0
    result = search(world.store, world.source, RECIPE.id, "circle", settings=gone)
    assert [hit.ways for hit in result.hits] == [("text",)]
    [line] = result.problems
    assert result.index_behind == ()
    assert line.startswith("no search by meaning: the embedding server http://127.0.0.1:9/v1 does not answer")


def test_an_embedding_that_is_not_there_is_said_and_none_is_not(world: World) -> None:
    world.summarize(a="circle")
    result = search(world.store, world.source, RECIPE.id, "circle", settings=SearchSettings(embedding="nowhere"))
    assert len(result.hits) == 1
    assert "there is no embedding 'nowhere'" in result.problems[0]
    result = search(world.store, world.source, RECIPE.id, "circle", settings=SearchSettings(embedding="none"))
    assert (len(result.hits), result.problems) == (1, ())
