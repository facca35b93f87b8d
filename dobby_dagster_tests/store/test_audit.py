"""The invariants of the ledger: each violation is found and named with its command, and what can be repaired is."""

from typing import Any

import pytest

from dobby_dagster.domain.records import RecordVersion, content_hash
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.states import State
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connection import Params, Result
from dobby_dagster.store.source.source_relation import Source
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done, source_with

ROWS = {f"k{number:02d}": f"content {number}" for number in range(7)}


class Killed(BaseException):
    """The process ends here."""


def summarized(store: CozoStore) -> tuple[Source, str]:
    source, batch, members = batch_of(store, dict(ROWS))
    commit(store, source, batch, [done(member, ROWS[member.version.key], batch) for member in members])
    return source, batch


def told(store: CozoStore) -> list[tuple[str, int]]:
    return [(violation.invariant, violation.count) for violation in store.audit.examine()]


def write(store: CozoStore, script: str, **params: Any) -> None:
    store.connection.run(script, params, write=True)


def test_a_sound_ledger_has_no_violation(store: CozoStore) -> None:
    source, _ = summarized(store)
    store.versions.note(source, [RecordVersion("record", "later", content_hash("x"))], ["k00"])
    assert told(store) == []
    assert store.audit.repair() == 0


def test_completed_records_without_summaries_return_to_pending(store: CozoStore) -> None:
    _, batch = summarized(store)
    write(store, "?[source, key, fingerprint] := *dobby_summary{source, key, fingerprint}, key <= 'k02'"
          " :rm dobby_summary {source, key, fingerprint}")  # fmt: skip
    [violation] = store.audit.examine()
    assert (violation.invariant, violation.count, violation.remedy) == (
        "completed records have a summary of their content", 3, "recover",
    )  # fmt: skip
    assert violation.example == f"k00 in {batch}"
    assert store.audit.repair() == 3
    assert told(store) == []
    assert store.reports.status("record", R) | {"batches": 1} == store.reports.status("record", R)
    assert store.states.counts(Scope(R, batch))["pending"] == 3


def test_a_version_in_no_batch_waits_again(store: CozoStore) -> None:
    source = source_with(store, {"a": "1", "b": "2"})
    store.versions.note(
        source, [RecordVersion("record", key, content_hash(c), 5, 1) for key, c in (("a", "1"), ("b", "2"))], []
    )
    write(
        store,
        "?[source, rank, key] := *dobby_waiting{source, rank, key}, key == 'a' :rm dobby_waiting {source, rank, key}",
    )
    assert told(store) == [("present versions are in a batch or wait for one", 1)]
    assert store.audit.repair() == 1
    assert told(store) == []
    batch = store.versions.cut_batch("record", 10)
    assert batch is not None
    assert [(m.version.key, m.version.priority) for m in store.states.members(Scope(R, batch.id))] == [
        ("a", 5),
        ("b", 5),
    ]


def test_a_claim_without_a_known_owner_is_given_back(store: CozoStore) -> None:
    _, batch, members = batch_of(store, {"a": "1", "b": "2"})
    store.claims.claim(members, "me", Scope(R, batch, "run"))
    assert told(store) == []
    write(store, "?[owner, batch, recipe] := *dobby_owner{owner, batch, recipe} :rm dobby_owner {owner, batch, recipe}")
    assert told(store) == [("records in progress have an owner", 2)]
    assert store.audit.repair() == 2
    assert store.states.counts(Scope(R, batch))["pending"] == 2


@pytest.mark.parametrize("page", [1, 2, 3, 1_000])
def test_a_violation_is_found_on_whatever_page_it_is(
    any_store: CozoStore, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("dobby_dagster.store.maintenance.ledger_audit.PAGE", page)
    store = any_store
    source, _ = summarized(store)
    store.versions.note(source, [RecordVersion("record", key, content_hash(key)) for key in ("", "new1", "new2")], [])
    assert told(store) == []
    for gone in ("summary{source, key, fingerprint}", "version{source, key, at}"):
        write(store, f"?[{gone.partition(chr(123))[2][:-1]}] := *dobby_{gone}, key == 'k06' :rm dobby_{gone}")
    write(store, "?[source, rank, key] := *dobby_waiting{source, rank, key}, key != 'new1'"
          " :rm dobby_waiting {source, rank, key}")  # fmt: skip
    assert told(store) == [
        ("completed records have a summary of their content", 1),
        ("present versions are in a batch or wait for one", 2),
        ("members of batches have been seen", 1),
    ]
    assert store.audit.repair() == 3
    assert told(store) == [("members of batches have been seen", 1)]


@pytest.mark.parametrize("page", [1, 2, 1_000])
def test_unfinished_batches_are_found_on_whatever_page_they_are(
    any_store: CozoStore, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("dobby_dagster.store.ledger.record_states.PAGE", page)
    source, first = summarized(any_store)
    versions = [RecordVersion("record", f"n{number}", content_hash(str(number))) for number in range(5)]
    any_store.versions.note(source, versions, [])
    cut = [any_store.versions.cut_batch("record", size) for size in (2, 3)]
    second, third = (batch.id for batch in cut if batch)
    assert any_store.states.unfinished("record", R, 3) == {second: 2, third: 3}
    assert any_store.states.unfinished("record", R, 3, [first, third]) == {third: 3}
    assert any_store.states.unfinished("other", R, 3) == {}


def test_what_can_only_be_restored_is_named(store: CozoStore) -> None:
    summarized(store)
    write(
        store, "?[batch, position] := *dobby_member{batch, position}, position == 3 :rm dobby_member {batch, position}"
    )
    found = store.audit.examine()
    assert ("batches have all their members", 1, "") in [
        (violation.invariant, violation.count, violation.remedy) for violation in found
    ]


def deaths(store: CozoStore, monkeypatch: pytest.MonkeyPatch, at: int) -> bool:
    """Purge, and die before the ``at``-th writing script; whether there was one."""
    run = store.connection.run
    left = at

    def dying(script: str, params: Params | None = None, *, write: bool = False) -> Result:
        nonlocal left
        left -= write
        if left == 0 and write:
            raise Killed
        return run(script, params, write=write)

    with monkeypatch.context() as patch:
        patch.setattr(store.connection, "run", dying)
        try:
            store.upkeep.purge(R)
        except Killed:
            return True
    return False


def test_a_purge_that_dies_anywhere_leaves_no_record_completed_without_a_summary(
    any_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dobby_dagster.store.maintenance.pruning.PAGE", 2)
    _, batch = summarized(any_store)
    died = 0
    while deaths(any_store, monkeypatch, died + 1):
        died += 1
        assert told(any_store) == []
        counts = any_store.states.counts(Scope(R, batch))
        assert counts["completed"] + counts["pending"] == counts["members"] == len(ROWS)
        assert counts["completed"] == any_store.reports.status("record", R)["summaries"]
    assert died >= 3
    assert any_store.reports.status("record", R)["summaries"] == 0
    assert any_store.states.history("record", "k00") != []
    members = any_store.states.members(Scope(R, batch))
    assert all(member.state is None for member in members)


def test_a_purge_says_how_many_summaries_it_deletes_and_touches_no_other_recipe(store: CozoStore) -> None:
    _, batch = summarized(store)
    other = "another"
    store.states.set_states(
        [RecordVersion("record", "k00", content_hash(ROWS["k00"]))], done_state(), Scope(other, batch, "run")
    )
    assert store.upkeep.summaries_by_recipe() == {R: len(ROWS)}
    deleted = store.upkeep.purge(R)
    assert deleted["dobby_summary"] == len(ROWS)
    assert store.upkeep.summaries_by_recipe() == {}
    assert store.states.counts(Scope(other, batch))["failed"] == 1


def done_state() -> Any:
    from dobby_dagster.domain.errors import InferenceError
    from dobby_dagster.domain.states import ProcessingState

    return ProcessingState.failed(InferenceError("x"), 1)


def test_states_and_members_are_counted_apart(store: CozoStore) -> None:
    """Two ways to count that share no query, so that one can contradict the other."""
    source, _ = summarized(store)
    plan(store, source, 100)
    states = store.connection.run(
        "?[state, count(key)] := *dobby_state{key, recipe, state @ 'END'}, recipe == $r", {"r": R}
    ).rows
    assert dict(states) == {State.COMPLETED: len(ROWS)}
    assert store.source(source.settings).count() == len(ROWS)
