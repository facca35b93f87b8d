"""What a report reads: a source as a whole, one batch, one run; as it is now."""

import pytest

from dobby_dagster.domain.scope import BatchId, RunId
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger import report_pages
from dobby_dagster.store.ledger.report_pages import Extent
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, RUN, run
from dobby_dagster_tests.helpers.records import put

ALL = Extent("record", RECIPE.id)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_pages, "_PAGE", 7)
    monkeypatch.setattr(report_pages, "_BATCHES", 1)


def records(store: CozoStore, extent: Extent = ALL) -> dict[str, dict]:
    return {row["key"]: row for page in store.report_pages.records(extent) for row in page}


def test_all_records_page_by_page(store: CozoStore) -> None:
    put(store, {"": "word", **{f"k{i:02d}": f"word{i} FAIL" if i == 5 else f"word{i}" for i in range(50)}, "z": ""})
    run(store, FakeEngine())
    found = records(store)
    assert len(found) == 52
    assert sum(len(page) for page in store.report_pages.records(ALL)) == 52
    states = {key: row["state"] for key, row in found.items()}
    assert (states["k05"], states["z"], states[""]) == ("failed", "skipped", "completed")
    assert (found["k05"]["error_code"], found["k05"]["fingerprint"]) == ("inference", None)
    assert (found["k06"]["confidence"], found["k06"]["run"]) == (0.6065, RUN)
    assert sum(chunk["inferred"] for page in store.report_pages.chunks(ALL) for chunk in page) == 50
    text = store.report_pages.texts("record", {"k06": found["k06"]["fingerprint"]})
    assert text == {"k06": "It says word6 indeed."}


def test_edited_and_deleted_records_are_as_they_are_now(store: CozoStore) -> None:
    put(store, {"a": "word1", "b": "word2"})
    run(store, FakeEngine())
    put(store, {"a": "word3"})
    store.connection.run("?[key] <- [['b']] :rm record {key}", write=True)
    run(store, FakeEngine())
    [(key, row)] = records(store).items()
    assert (key, row["state"]) == ("a", "completed")
    assert store.report_pages.texts("record", {"a": row["fingerprint"]}) == {"a": "It says word3 indeed."}


def test_another_recipe_sees_only_its_own(store: CozoStore) -> None:
    put(store, {"a": "word1"})
    run(store, FakeEngine())
    other = Extent("record", "another")
    assert records(store, other)["a"]["state"] == "pending"
    assert list(store.report_pages.chunks(other)) == [[]]


def test_one_batch_and_one_run(store: CozoStore) -> None:
    put(store, {f"k{i:02d}": f"word{i}" for i in range(30)})
    run(store, FakeEngine())
    batch = Extent("record", RECIPE.id, batch=BatchId("batch-000002"))
    assert len(records(store, batch)) == 10
    assert sum(chunk["completed"] for page in store.report_pages.chunks(batch) for chunk in page) == 10
    whole = Extent("record", RECIPE.id, run=RUN)
    assert store.report_pages.batches(whole) == ["batch-000001", "batch-000002"]
    assert len(records(store, whole)) == 30
    nothing = Extent("record", RECIPE.id, run=RunId("nosuch"))
    assert (records(store, nothing), list(store.report_pages.chunks(nothing))) == ({}, [])


def test_runs_are_found_by_the_beginning_of_their_identifier(store: CozoStore) -> None:
    put(store, {"a": "word1"})
    run(store, FakeEngine())
    assert store.report_pages.runs("ru") == [RUN]
    assert store.report_pages.runs("x") == []
