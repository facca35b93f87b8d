"""What the ledger knows of stalled runs: their claims return, and a record that was alone fails."""

import time

import pytest

from dobby_dagster.domain.owner import new_owner, retire
from dobby_dagster.domain.scope import OwnerId, RunId, Scope
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.domain.states import ProcessingState, State
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_states import Member
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done

RUN = RunId("run-1")


def claimed(store: CozoStore, members: list[Member], scope: Scope) -> OwnerId:
    owner = new_owner()
    retire(owner)
    store.claims.claim(members, owner, scope)
    return owner


def states(store: CozoStore, scope: Scope) -> dict[str, ProcessingState]:
    return {member.version.key: member.state for member in store.states.members(scope) if member.state}


def test_a_stall_returns_the_claims_and_suspects_them(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3"})
    scope = Scope(R, batch, RUN)
    claimed(store, members, scope)
    commit(store, source, batch, [done(members[0], "1")])
    before = time.time()
    stall = store.stalls.record(RUN, StallKind.INFERENCE, 600.0)
    assert (stall.run, stall.recipe, stall.batches, stall.kind, stall.seconds) == (RUN, R, [batch], "inference", 600.0)
    assert stall.keys == ["b", "c"]
    assert store.stalls.recent(before - 1) == [stall]
    assert store.stalls.recent(stall.at) == []
    assert {key: state.state for key, state in states(store, scope).items()} == {
        "a": State.COMPLETED, "b": State.PENDING, "c": State.PENDING,
    }  # fmt: skip
    assert store.claims.owners() == []
    suspects = {key: count for (key, _), count in store.stalls.suspects(scope).items()}
    assert suspects == {"b": 1, "c": 1}
    assert all(state.retry_count == 0 for state in states(store, scope).values()), "no attempt of theirs has failed"


def test_a_record_that_was_alone_fails_with_as_many_attempts_as_stalls(store: CozoStore) -> None:
    _, batch, members = batch_of(store, {"a": "1", "b": "2"})
    scope = Scope(R, batch, RUN)
    for _ in range(2):
        claimed(store, members, scope)
        store.stalls.record(RUN, StallKind.INFERENCE, 600.0)
    claimed(store, members[1:], scope)
    store.stalls.record(RUN, StallKind.PIPELINE, 60.0)
    found = states(store, scope)
    assert (found["a"].state, found["a"].retry_count) == (State.PENDING, 0)
    failed = found["b"]
    assert (failed.state, failed.error_code, failed.retry_count) == (State.FAILED, "stalled", 3)
    assert failed.error == "the run stalled at this record: no commit for 60 s"
    assert not failed.is_runnable(batch, 3, False)
    claimed(store, [m for m in store.states.members(scope) if m.version.key == "b"], scope)
    store.stalls.record(RUN, StallKind.PIPELINE, 60.0)
    assert states(store, scope)["b"].retry_count == 4
    totals = store.totals.read()
    assert (totals["stalls"], totals["errors"]) == ({"inference": 2, "pipeline": 2}, {"stalled": 2})
    assert totals["records"]["failed"] == 2


def test_what_another_run_has_taken_meanwhile_is_left_to_it(store: CozoStore) -> None:
    _, batch, members = batch_of(store, {"a": "1"})
    scope = Scope(R, batch, RUN)
    claimed(store, members, scope)
    other = Scope(R, batch, RunId("run-2"))
    taken = claimed(store, store.states.members(scope), other)
    stall = store.stalls.record(RUN, StallKind.INFERENCE, 600.0)
    assert (stall.keys, stall.batches) == ([], [])
    assert states(store, scope)["a"].owner == taken
    assert [owner.owner for owner in store.claims.owners()] == [taken]


def test_a_run_that_had_claimed_nothing_is_recorded_with_its_batches(store: CozoStore) -> None:
    _, batch, _ = batch_of(store, {"a": "1"})
    store.attempts.note_run(R, [batch], RUN)
    stall = store.stalls.record(RUN, StallKind.PIPELINE, 60.0)
    assert (stall.batches, stall.recipe, stall.keys) == ([batch], R, [])


def test_suspects_are_forgotten_by_key_and_with_their_recipe(any_store: CozoStore) -> None:
    _, batch, members = batch_of(any_store, {"a": "1", "b": "2"})
    scope = Scope(R, batch, RUN)
    claimed(any_store, members, scope)
    any_store.stalls.record(RUN, StallKind.INFERENCE, 600.0)
    any_store.stalls.forget_suspects(R, batch, ["a"])
    assert [key for key, _ in any_store.stalls.suspects(scope)] == ["b"]
    deleted = any_store.upkeep.purge(R)
    assert (deleted["dobby_stall"], deleted["dobby_suspect"]) == (1, 1)


@pytest.mark.parametrize("commits", [0, 1, 3])
def test_progress_is_the_last_claim_or_commit(any_store: CozoStore, commits: int) -> None:
    source, batch, members = batch_of(any_store, {"a": "1", "b": "2"})
    assert any_store.stalls.progress() == []
    owner = claimed(any_store, members, Scope(R, batch, RunId("run")))
    [owned] = any_store.claims.owners()
    for _ in range(commits):
        commit(any_store, source, batch, [done(members[0], "1")])  # finished at 2.0, long ago
    [seen] = any_store.stalls.progress()
    assert (seen.run, seen.recipe, seen.owner, seen.batches, seen.at) == ("run", R, owner, [batch], owned.since)
