"""What happened between two moments, by the history; with and without the notes of the changes."""

from collections.abc import Iterator
from itertools import combinations, count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger import record_changes
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

_number = count()


@pytest.fixture(autouse=True, scope="module")
def _small_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_changes, "FIRST_PAGE", 1)
        patch.setattr(record_changes, "PAGE", 3)
        patch.setattr(record_changes, "_TRANSACTIONS", 2)
        yield


def between(store: CozoStore, since: int, until: int) -> dict[str, tuple[str, bool]]:
    """All changes, which are also those after each one in its turn."""
    found = list(store.changes.between("record", RECIPE.id, since, until))
    assert len({change.key for change in found}) == len(found)
    noted = [change.noted_at for change in found]
    assert set(noted) <= {None} or None not in noted
    positions = [(at or 0, change.key) for at, change in zip(noted, found, strict=True)]
    assert positions == sorted(positions)
    for place, change in enumerate(found):
        assert list(store.changes.between("record", RECIPE.id, since, until, change.position)) == found[place + 1 :]
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
    assert between(any_store, first, fourth).keys() == {"", "a", "b", "c", "d", "e"}
    noted_at = {change.noted_at for change in any_store.changes.between("record", RECIPE.id, first, fourth)}
    assert (noted_at == {None}) is not noted


def test_a_later_write_changes_no_earlier_interval(sqlite_store: CozoStore) -> None:
    first, *_, fourth = history(sqlite_store)
    before = between(sqlite_store, first, fourth)
    put(sqlite_store, {"a": "word9", "z": "word9"})
    remove(sqlite_store, "d")
    run(sqlite_store, FakeEngine())
    assert between(sqlite_store, first, fourth) == before


@pytest.mark.slow
@settings(max_examples=30)
@given(
    st.lists(st.dictionaries(st.sampled_from("abcde"), st.none() | st.sampled_from(["x", "y", "FAIL"])), max_size=4),
)
def test_what_was_noted_and_the_whole_history_tell_the_same(
    contents: list[dict[str, str | None]],
) -> None:
    store = CozoStore.open(DatabaseSettings(url=f"mem://changes{next(_number)}"))
    moments = [store.counts.now()]
    for each in contents:
        put(store, {key: content for key, content in each.items() if content is not None})
        for key in (key for key, content in each.items() if content is None):
            remove(store, key)
        run(store, FakeEngine(), 2)
        moments.append(store.counts.now())
    intervals = list(combinations(moments, 2))
    noted = [between(store, *interval) for interval in intervals]
    store.upkeep.forget_changes(moments[-1] / 1e6 + 60)
    assert [between(store, *interval) for interval in intervals] == noted


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
