"""The counts that are kept up to date are those of a full count, whatever happens in between."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import Retry
from dobby_dagster.domain.records import RecordVersion, content_hash
from dobby_dagster.domain.scope import OwnerId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.states import State, is_quarantined
from dobby_dagster.monitor.record_counter import RecordCounter
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.maintenance.backup_file import restore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

RETRIES = 2
KEYS = st.sampled_from(["", *"abcdefgh"])
STEPS = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(KEYS, st.integers(0, 3), min_size=1)),
    st.tuples(st.just("remove"), st.sets(KEYS, min_size=1)),
    st.tuples(st.just("redo"), st.sets(KEYS, min_size=1)),
    *(st.tuples(st.just(name), st.none()) for name in ("plan", "run", "claim", "release", "purge", "compact")),
)


def full_count(store: CozoStore) -> dict[str, int]:
    status = store.reports.status("record", RECIPE.id)
    failed = store.states.failed("record", RECIPE.id)
    quarantined = sum(is_quarantined(Retry(row["retry"]), row["retry_count"], RETRIES) for row in failed)
    return {**{state.value: status[state.value] for state in State}, "quarantined": quarantined}


def edit(store: CozoStore, contents: dict[str, int]) -> None:
    put(store, {key: f"def f_{key}(): return {number}" for key, number in contents.items()})


def remove(store: CozoStore, keys: set[str]) -> None:
    rows = [[key] for key in keys]
    store.connection.run("?[key] <- $rows :rm record {key}", {"rows": rows}, write=True)


def claim(store: CozoStore, _: None) -> None:
    for batch in store.states.unfinished("record", RECIPE.id, 3):
        scope = Scope(RECIPE.id, batch, RunId("claimed"))
        members = [m for m in store.states.members(scope) if m.is_runnable(batch, 3)]
        store.claims.claim(members, OwnerId("host/1/1.0/claimed"), scope)


def release(store: CozoStore, _: None) -> None:
    for owner in store.claims.owners():
        store.claims.release(owner.owner, owner.scope)


ACTIONS: dict[str, Callable[[CozoStore, Any], object]] = {
    "put": edit,
    "remove": remove,
    "plan": lambda store, _: plan(store, store.source(SourceSettings()), 3),
    "run": lambda store, _: run(store, FakeEngine()),
    "claim": claim,
    "release": release,
    "redo": lambda store, keys: store.upkeep.redo("record", RECIPE.id, sorted(keys)),
    "purge": lambda store, _: store.upkeep.purge(RECIPE.id),
    "compact": lambda store, _: store.upkeep.compact(4e9),
}


@hypothesis_settings(max_examples=25)
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
def test_counts_are_those_of_a_full_count(steps: list[tuple[str, object]]) -> None:
    store = CozoStore.open(DatabaseSettings(url=f"mem://{uuid.uuid4().hex}"))
    counter = RecordCounter(store.counts, "record", RECIPE.id, RETRIES)
    for action, value in steps:
        ACTIONS[action](store, value)
        assert counter.refresh() == full_count(store), action
        assert store.counts.waiting("record") == store.versions.waiting("record"), action


def test_counts_of_each_database_follow_a_commit(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "one", "b": "two", "c": "three"})
    counter = RecordCounter(store.counts, "record", R, RETRIES)
    assert counter.refresh()[State.PENDING] == 3
    commit(store, source, batch, [done(members[0], "one"), done(members[1], "two")])
    counted = {state: count for state, count in counter.refresh().items() if count}
    assert counted == {State.PENDING: 1, State.COMPLETED: 2}


def test_a_count_goes_on_while_others_write(sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.monitor.record_counter.PAGE", 3)
    put(sqlite_store, {f"k{n}": f"def f(): return {n}" for n in range(10)})
    plan(sqlite_store, sqlite_store.source(SourceSettings()), 4)
    counter = RecordCounter(sqlite_store.counts, "record", RECIPE.id, RETRIES)
    read = sqlite_store.counts.keys

    def read_while_others_write(relation: str, after: str | None, limit: int) -> list[str]:
        if after == "k2":
            run(sqlite_store, FakeEngine())
        return read(relation, after, limit)

    monkeypatch.setattr(sqlite_store.counts, "keys", read_while_others_write)
    assert counter.refresh()[State.PENDING] == 10, "as it was when the count began"
    assert counter.refresh() == full_count(sqlite_store)


def test_a_restored_backup_is_counted_again(tmp_path: Path, sqlite_store: CozoStore) -> None:
    version = RecordVersion("record", "a", content_hash("x"), 0, 1)
    sqlite_store.versions.note(sqlite_store.source(SourceSettings()), [version], [])
    sqlite_store.backup(tmp_path / "backup")
    counter = RecordCounter(sqlite_store.counts, "record", R, RETRIES)
    more = [RecordVersion("record", key, content_hash(key), 0, 1) for key in "bcd"]
    sqlite_store.versions.note(sqlite_store.source(SourceSettings()), more, [])
    assert counter.refresh()[State.PENDING] == 4
    (tmp_path / "records.db").unlink()
    restore(DatabaseSettings(url=sqlite_store.connection.url), tmp_path / "backup")
    assert counter.refresh()[State.PENDING] == 1


def test_changes_are_kept_for_an_hour(sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted() -> int:
        return len(sqlite_store.connection.run("?[at, source] := *dobby_change{at, source}").rows)

    put(sqlite_store, {f"k{n}": f"word {n}" for n in range(30)})
    run(sqlite_store, FakeEngine())
    before = noted()
    counter = RecordCounter(sqlite_store.counts, "record", RECIPE.id, RETRIES)
    assert counter.refresh()["completed"] == 30
    put(sqlite_store, {"b": "two"})
    monkeypatch.setattr("dobby_dagster.pipeline.summarization.summarizer.CHANGES_KEPT_SECONDS", -3_600.0)
    run(sqlite_store, FakeEngine())
    assert noted() < before, "all but the last change before the run"
    assert counter.refresh()["completed"] == 31, "counted again, since its change is gone"


def test_a_record_that_is_deleted_and_one_that_is_new_are_noted_together(store: CozoStore) -> None:
    put(store, {"gone": "one", "kept": "two"})
    counter = RecordCounter(store.counts, "record", RECIPE.id, RETRIES)
    run(store, FakeEngine())
    assert counter.refresh()["completed"] == 2
    store.records.remove(["gone"])
    put(store, {"kept": "edited", "new": "three"})
    plan(store, store.source(SourceSettings()), 3)
    assert counter.refresh() == full_count(store)


def test_what_is_noted_twice_in_a_transaction_costs_no_more_than_what_is_noted_once(sqlite_store: CozoStore) -> None:
    source, keys = sqlite_store.source(SourceSettings()), [f"k{n}" for n in range(1_000)]
    versions = [RecordVersion("record", key, content_hash(key), 0, 1) for key in keys]
    began = time.perf_counter()
    sqlite_store.versions.note(source, versions[:500], [])
    once = time.perf_counter() - began
    sqlite_store.versions.note(source, versions[500:], keys[:500])
    twice = time.perf_counter() - began - once
    assert twice < 20 * once, "the keys of the first are merged once, not for each key of the second"
