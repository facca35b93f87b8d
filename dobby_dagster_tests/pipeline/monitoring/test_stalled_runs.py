"""Runs that are alive and make no progress, as any process sees them."""

import time

import pytest

from dobby_dagster.domain.owner import new_owner, retire
from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.pipeline.monitoring.stalls import stalled_runs
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk, ChunkStats
from dobby_dagster_tests.helpers.ledger import R, batch_of, done
from dobby_dagster_tests.helpers.world import Make


def test_a_living_run_without_progress_is_stalled_until_it_commits(
    sqlite_store: CozoStore, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(pipeline__stall_seconds=60)
    source, batch, members = batch_of(sqlite_store, {"a": "1", "b": "2"})
    scope, owner = Scope(R, batch, RunId("run")), new_owner()
    sqlite_store.claims.claim(members, owner, scope)
    assert stalled_runs(sqlite_store, settings) == []
    now = time.time() + 90
    monkeypatch.setattr("time.time", lambda: now)
    [stalled] = stalled_runs(sqlite_store, settings)
    assert (stalled.run, stalled.recipe, stalled.owner, stalled.batches) == ("run", R, owner, [batch])
    assert 90 <= stalled.seconds < 100
    assert stalled_runs(sqlite_store, make_settings(pipeline__stall_seconds=0)) == []
    stats = ChunkStats(now - 1, now, [0.1])
    sqlite_store.chunks.commit(source, Chunk([done(members[0], "1")], stats), scope)
    assert stalled_runs(sqlite_store, settings) == []
    now += 90
    assert len(stalled_runs(sqlite_store, settings)) == 1
    retire(owner)
    assert stalled_runs(sqlite_store, settings) == [], "a dead run is for recovery"
