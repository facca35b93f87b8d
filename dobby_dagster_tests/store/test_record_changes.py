"""What happened between two moments, by the history; with and without the notes of the changes."""

import pytest

from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger import record_changes
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_changes, "PAGE", 3)


def between(store: CozoStore, since: int, until: int, after: str | None = None) -> dict[str, tuple[str, bool]]:
    found = list(store.changes.between("record", RECIPE.id, since, until, after))
    assert [change.key for change in found] == sorted({change.key for change in found})
    return {change.key: (change.kind.value, change.summarized) for change in found}


def remove(store: CozoStore, key: str) -> None:
    store.connection.run("?[key] <- [[$key]] :rm record {key}", {"key": key}, write=True)


def history(store: CozoStore) -> list[int]:
    """Moments: nothing, then four records, then one each new, changed, deleted, failed and back, then nothing more."""
    moments = [store.counts.now()]
    put(store, {"": "word0", "a": "word1", "b": "word2", "c": "word3 FAIL", "d": "word4"})
    run(store, FakeEngine())
    moments.append(store.counts.now())
    put(store, {"a": "word5", "e": "word6"})
    remove(store, "b")
    run(store, FakeEngine())
    moments.append(store.counts.now())
    put(store, {"b": "word2", "a": "word1"})
    run(store, FakeEngine())
    moments.append(store.counts.now())
    return moments


@pytest.mark.parametrize("noted", [True, False])
def test_each_interval_has_what_happened_in_it(any_store: CozoStore, noted: bool) -> None:
    first, second, third, fourth = history(any_store)
    if not noted:
        any_store.upkeep.forget_changes(fourth / 1e6 + 60)
    done = ("new", True)
    assert between(any_store, first, second) == {"": done, "a": done, "b": done, "c": ("new", False), "d": done}
    assert between(any_store, second, third) == {"a": ("changed", True), "b": ("deleted", False), "e": done}
    # Both have the summary that they had before, and so none that is new.
    assert between(any_store, third, fourth) == {"a": ("changed", False), "b": ("new", False)}
    assert between(any_store, second, fourth) == {"e": done}
    assert between(any_store, fourth, fourth) == {}
    assert between(any_store, first, fourth, after="b").keys() == {"c", "d", "e"}


def test_a_later_write_changes_no_earlier_interval(sqlite_store: CozoStore) -> None:
    first, *_, fourth = history(sqlite_store)
    before = between(sqlite_store, first, fourth)
    put(sqlite_store, {"a": "word9", "z": "word9"})
    remove(sqlite_store, "d")
    run(sqlite_store, FakeEngine())
    assert between(sqlite_store, first, fourth) == before


def test_a_new_summary_of_the_same_content_is_a_change(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1"})
    moment = sqlite_store.counts.now()
    plan(sqlite_store, sqlite_store.source(SourceSettings()), 20)
    planned = sqlite_store.counts.now()
    assert between(sqlite_store, moment, planned) == {"a": ("new", False)}
    run(sqlite_store, FakeEngine())
    assert between(sqlite_store, planned, sqlite_store.counts.now()) == {"a": ("summarized", True)}


def test_the_newest_summary_of_a_key_is_found_be_it_of_a_former_content(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1", "b": "word2"})
    run(sqlite_store, FakeEngine())
    put(sqlite_store, {"a": "word3"})
    run(sqlite_store, FakeEngine())
    put(sqlite_store, {"a": "word4"})
    found = sqlite_store.reports.latest("record", RECIPE.id, ["a", "b", "c"])
    assert {key: row["summary"] for key, row in found.items()} == {
        "a": "It says word3 indeed.",
        "b": "It says word2 indeed.",
    }
    assert sqlite_store.reports.latest("record", None, ["a"]) == {}
