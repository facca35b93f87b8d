"""Claims of several hosts: valid while they are renewed, taken over once, and checked by every commit."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.domain.scope import OwnerId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.domain.states import ProcessingState, State, skipped
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk, ChunkStats, Outcome
from dobby_dagster.store.ledger.record_states import Member, Seen
from dobby_dagster_tests.helpers.cozo_server import running_server
from dobby_dagster_tests.helpers.ledger import R, batch_of, done

HERE, THERE = OwnerId("one@0a0a0a0a.1/1/1.00/x"), OwnerId("two@0b0b0b0b.1/1/1.00/x")
LAPSED, VALID = -1.0, 3_600.0
STATS = ChunkStats(1.0, 2.0, [0.1])


def outcomes(members: list[Member], owner: OwnerId) -> list[Outcome]:
    return [replace(done(m, m.version.key.upper()), seen=Seen(owner)) for m in members]


def batch(store: CozoStore, keys: str = "abc") -> tuple[Scope, list[Member]]:
    _, name, members = batch_of(store, {key: key.upper() for key in keys})
    return Scope(R, name, RunId("run")), members


def commit(store: CozoStore, made: list[Outcome], scope: Scope) -> tuple[set[str], set[str]]:
    from dobby_dagster.domain.settings import SourceSettings

    found = store.chunks.commit(store.source(SourceSettings()), Chunk(made, STATS), scope)
    return set(found.superseded), set(found.taken_over)


def test_an_owner_of_another_host_lives_as_long_as_it_renews_its_claims(store: CozoStore) -> None:
    scope, members = batch(store)
    assert store.renewals.renew(HERE, VALID) is False, "it had none before"
    store.claims.claim(members, HERE, scope)
    [owner] = store.claims.owners()
    assert owner.is_alive
    assert not any(member.is_abandoned for member in store.states.members(scope))
    assert store.claims.release_abandoned(replace(owner, renewal=None)) == 0, "it has renewed them since it was read"
    store.renewals.renew(HERE, LAPSED)
    [owner] = store.claims.owners()
    assert not owner.is_alive
    assert all(member.is_abandoned for member in store.states.members(scope))
    assert store.claims.release_abandoned(owner) == 3
    assert store.claims.owners() == []
    assert store.renewals.renew(HERE, VALID) is True, "it learns that its claims had lapsed"
    store.renewals.remove(HERE)
    assert store.renewals.of({HERE}) == {}


def test_what_an_owner_left_is_taken_over_unless_it_renews_its_claims_in_between(store: CozoStore) -> None:
    scope, members = batch(store)
    store.renewals.renew(HERE, LAPSED)
    store.claims.claim(members, HERE, scope)
    seen, [owner] = store.states.members(scope), store.claims.owners()
    store.renewals.renew(HERE, VALID)
    assert store.claims.claim(seen, THERE, scope) == set(), "it was slow, and is back"
    assert store.claims.release_abandoned(owner) == 0
    assert store.claims.held(HERE, scope) == {(m.version.key, m.version.content_hash) for m in members}
    store.renewals.renew(HERE, LAPSED)
    assert len(store.claims.claim(store.states.members(scope), THERE, scope)) == 3
    assert store.claims.held(HERE, scope) == set()


def test_an_owner_that_wakes_up_commits_only_what_nobody_took_over(store: CozoStore) -> None:
    scope, members = batch(store)
    other = replace(scope, run=RunId("another run"))
    store.renewals.renew(HERE, LAPSED)
    store.claims.claim(members, HERE, scope)
    taken = store.states.members(scope)[1:]
    store.claims.claim(taken, THERE, other)
    assert commit(store, outcomes(members, HERE), scope) == (set(), {"b", "c"})
    assert store.states.counts(scope) == {
        "pending": 0, "in_progress": 2, "completed": 1, "failed": 0, "skipped": 0, "members": 3,
    }  # fmt: skip
    assert commit(store, outcomes(members, HERE), scope) == (set(), {"b", "c"}), "nor does it a second time"
    failed = ProcessingState.failed(InferenceError("late"), 1)
    assert commit(store, [Outcome(taken[0].version, "B", failed, seen=Seen(HERE))], scope) == (set(), {"b"})
    assert commit(store, outcomes(taken, THERE), other) == (set(), set())
    assert store.states.counts(scope)["completed"] == 3
    totals = store.totals.read()
    assert (totals["records"], totals["inferred"]) == ({"completed": 3}, {"": 3})
    assert totals["confidence"] == {"sum": 1.5, "count": 3}
    rows = store.connection.run(
        "?[chunk, completed, failed, inferred] := *dobby_chunk{chunk, completed, failed, inferred}"
    ).rows
    assert [sum(row[column] for row in rows) for column in (1, 2, 3)] == [3, 0, 3]
    assert store.check() == []


def test_what_needed_no_claim_is_stored_only_if_nobody_else_was_there(store: CozoStore) -> None:
    scope, members = batch(store)
    empty = [Outcome(m.version, m.version.key.upper(), skipped("empty content"), seen=m.seen) for m in members]
    store.claims.claim(members[:1], THERE, replace(scope, run=RunId("another run")))
    assert commit(store, empty, scope) == (set(), {"a"})
    assert commit(store, empty[1:], replace(scope, run=RunId("a third run"))) == (set(), {"b", "c"})
    assert store.states.counts(scope)["skipped"] == 2
    assert store.totals.read()["records"] == {"skipped": 2}


def test_a_record_that_another_run_failed_since_it_was_read_is_left_to_the_next_run(store: CozoStore) -> None:
    scope, members = batch(store)
    store.states.set_states([members[0].version], ProcessingState.failed(InferenceError("no"), 1), scope)
    store.states.make_pending(members[1:2], scope)
    assert {key for key, _ in store.claims.claim(members, HERE, scope)} == {"b", "c"}
    assert {key for key, _ in store.claims.claim(store.states.members(scope)[:1], HERE, scope)} == {"a"}


def test_a_record_that_was_claimed_since_it_was_read_does_not_return_to_pending(store: CozoStore) -> None:
    scope, members = batch(store)
    store.claims.claim(members[:1], HERE, scope)
    store.states.make_pending(members, scope)
    assert [m.state.state for m in store.states.members(scope) if m.state] == [
        State.IN_PROGRESS, State.PENDING, State.PENDING,
    ]  # fmt: skip


def test_a_clock_that_is_set_back_makes_no_claim_valid_for_longer(store: CozoStore) -> None:
    ahead = f"?[owner, at, seconds] := owner = '{HERE}', at = now() + 9000.0, seconds = 30.0 :put dobby_renewal {{owner => at, seconds}}"
    store.connection.run(ahead, write=True)
    store.renewals.renew(THERE, VALID)
    assert abs(store.renewals.of({HERE})[HERE].age) < 4_000


def test_owners_that_ended_long_ago_are_forgotten(store: CozoStore) -> None:
    old = f"?[owner, at, seconds] := owner = '{HERE}', at = now() - 90000.0, seconds = 30.0 :put dobby_renewal {{owner => at, seconds}}"
    store.connection.run(old, write=True)
    store.renewals.renew(THERE, LAPSED)
    store.renewals.forget()
    assert set(store.renewals.of({HERE, THERE})) == {THERE}


@pytest.mark.slow
@settings(max_examples=5)
@given(hosts=st.integers(2, 8), records=st.integers(1, 20), abandoned=st.booleans())
def test_hosts_that_claim_at_the_same_time_share_the_records_without_doubling(
    hosts: int, records: int, abandoned: bool
) -> None:
    with running_server() as server:
        stores = [CozoStore.open(DatabaseSettings(url=server.url)) for _ in range(hosts)]
        scope, members = batch(stores[0], "abcdefghijklmnopqrst"[:records])
        if abandoned:
            stores[0].renewals.renew(THERE, LAPSED)
            stores[0].claims.claim(members, THERE, scope)
            members = stores[0].states.members(scope)
        start = threading.Barrier(hosts)

        def claim(number: int) -> set[tuple[str, str]]:
            owner = OwnerId(f"host-{number}@0c0c0c0c.{number}/1/1.00/x")
            start.wait()
            stores[number].renewals.renew(owner, VALID)
            return stores[number].claims.claim(members, owner, scope)

        with ThreadPoolExecutor(hosts) as pool:
            won = list(pool.map(claim, range(hosts)))
        assert sum(map(len, won)) == records
        assert set.union(*won) == {(m.version.key, m.version.content_hash) for m in members}
        for one in stores:
            one.close()
