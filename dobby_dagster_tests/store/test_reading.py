"""What is read of records, states and summaries, whichever engine is behind the store."""

import time
from collections import Counter

from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import RecipeId, RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.states import COMPLETED, PENDING, ProcessingState
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done, source_with


def test_what_is_newest_stays_newest_when_the_clock_is_set_back(store: CozoStore) -> None:
    """The database's own clock stands an hour in the future, as after the machine's was set back by one."""
    _, batch, members = batch_of(store, {"a": "1"})
    ahead = int((time.time() + 3_600) * 1e6)
    store.connection.run("?[name, at] <- [['clock', $at]] :put dobby_clock {name => at}", {"at": ahead}, write=True)
    for owner in ("first", "second"):
        seen = store.states.members(Scope(R, batch))
        assert len(store.claims.claim(seen, owner, Scope(R, batch, "run"))) == 1
        store.claims.release(owner, Scope(R, batch))
    source_with(store, {"a": "changed"})
    batch_2 = plan(store, store.source(SourceSettings()), 10).batches[0].id
    assert store.states.counts(Scope(R, batch))["pending"] == 1
    store.states.set_states([members[0].version], COMPLETED, Scope(R, batch, "run"))
    assert store.states.counts(Scope(R, batch))["completed"] == 1
    assert store.states.counts(Scope(R, batch_2))["pending"] == 1
    states = [event["event"] for event in store.states.history("record", "a")]
    assert states == ["seen", "in_progress", "pending", "in_progress", "pending", "seen", "completed"]


def test_a_stored_summary_is_found_by_its_fingerprint(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1"})
    outcome = done(members[0], "1", batch)
    commit(store, source, batch, [outcome])
    assert outcome.summary is not None
    found = store.chunks.find([outcome.summary.fingerprint, "none"])
    assert list(found) == [outcome.summary.fingerprint]


def test_history_tells_every_step(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1"})
    store.states.set_states([members[0].version], PENDING, Scope(R, batch, "run"))
    store.claims.claim(store.states.members(Scope(R, batch)), "me", Scope(R, batch, "run"))
    commit(store, source, batch, [done(members[0], "1", batch)])
    store.versions.note(source, [], ["a"])
    events = store.states.history("record", "a")
    assert [event["event"] for event in events] == ["seen", "pending", "in_progress", "completed", "deleted"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_status_counts_every_record_in_one_state(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3"})
    commit(store, source, batch, [done(members[0], "1", batch)])
    store.versions.note(source, [RecordVersion("record", "d", "h")], ["c"])
    status = store.reports.status("record", R)
    assert status == {
        "records": 3, "batches": 1, "pending": 2, "in_progress": 0, "completed": 1, "failed": 0, "skipped": 0,
        "deleted": 1, "summaries": 1,
    }  # fmt: skip


def test_an_overview_accounts_for_every_row_of_the_source(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3"})
    commit(store, source, batch, [done(m, {"a": "1", "b": "2", "c": "3"}[m.version.key], batch) for m in members[:2]])
    source_with(store, {"new": "not planned", "newer": "nor this"})
    store.records.remove(["a"])
    found = store.reports.overview(source, R)
    assert found == {
        "rows": 4, "unplanned": 2, "records": 2, "batches": 1, "pending": 1, "in_progress": 0, "completed": 1,
        "failed": 0, "skipped": 0, "deleted": 1, "summaries": 2,
    }  # fmt: skip
    assert found["rows"] == source.count()
    assert store.reports.overview(source, "another")["completed"] == 0


def test_a_range_of_keys_has_the_counts_of_its_keys(store: CozoStore) -> None:
    contents = {"": "empty", "a": "1", "a::b": "2", "ab": "3", "b": "4", "\U0001f600": "5"}
    source, batch, members = batch_of(store, contents)
    chosen = [member for member in members if member.version.key in ("", "a::b", "b")]
    commit(store, source, batch, [done(member, contents[member.version.key], batch) for member in chosen])
    other, failing = Scope(RecipeId("other"), batch, RunId("run")), Scope(R, batch, RunId("run"))
    store.states.set_states([member.version for member in members], COMPLETED, other)
    broken = [member.version for member in members if member.version.key == "ab"]
    store.states.set_states(broken, ProcessingState.failed(DegenerateOutputError("it is empty"), 1), failing)
    store.versions.note(source, [RecordVersion("record", "later", "h")], ["b"])
    moment, keys = store.counts.now(), sorted([*contents, "later"])
    for recipe in (R, RecipeId("other"), None):
        for begin in range(len(keys)):
            for end in range(begin + 1, len(keys)):
                wanted = store.counts.by_state("record", recipe, keys[begin + 1 : end + 1], moment, 0)
                assert store.counts.by_state_between("record", recipe, keys[begin], keys[end], moment, 0) == wanted
    assert store.reports.overview(source, R) == {
        "rows": 6, "unplanned": 1, "records": 5, "batches": 1, "pending": 2, "in_progress": 0, "completed": 2,
        "failed": 1, "skipped": 0, "deleted": 2, "summaries": 3,
    }  # fmt: skip


def test_rows_tell_what_the_source_holds_now(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "1", "b": "2", "c": "3"})
    commit(store, source, batch, [done(m, {"a": "1", "b": "2", "c": "3"}[m.version.key], batch) for m in members])
    source_with(store, {"b": "edited", "new": "not planned"})
    store.records.remove(["a"])
    rows = {row["key"]: row for row in store.reports.rows(source, R, page=2)}
    told = {key: (row["state"], row["summary"], row["content"]) for key, row in rows.items()}
    assert told == {
        "b": ("pending", None, "edited"),
        "c": ("completed", "A good summary.", "3"),
        "new": ("pending", None, "not planned"),
    }
    assert (rows["c"]["content_type"], rows["c"]["metadata"], rows["c"]["size"]) == ("text", {}, 1)


def test_the_current_summary_comes_first_and_former_ones_say_why(store: CozoStore) -> None:
    source, batch, members = batch_of(store, {"a": "first"})
    commit(store, source, batch, [done(members[0], "first", batch, "Of the first.")])
    source_with(store, {"a": "second"})
    plan(store, source, 10)
    [edited] = store.states.members(Scope(R, "batch-000002"))
    commit(store, source, "batch-000002", [done(edited, "second", "batch-000002", "Of the second.")])

    def told(recipe: str = R) -> list[tuple[str, str]]:
        return [(row["text"], row["former"]) for row in store.reports.summaries_of("record", "a", recipe)]

    assert told() == [("Of the second.", ""), ("Of the first.", "content")]
    source_with(store, {"a": "first"})
    plan(store, source, 10)
    assert told() == [("Of the first.", ""), ("Of the second.", "content")]
    assert told("another") == [("Of the first.", "recipe"), ("Of the second.", "content")]
    state = store.reports.state_of("record", "a", R)
    assert state is not None
    assert (state["state"], state["summary"]) == ("completed", "Of the first.")
    store.records.remove(["a"])
    plan(store, source, 10)
    assert {former for _, former in told()} == {"deleted"}
    state = store.reports.state_of("record", "a", R)
    assert state is not None
    assert (state["state"], state["summary"]) == ("deleted", None)
    assert store.reports.state_of("record", "never seen", R) is None


def test_entries_hold_every_record_under_its_own_key(store: CozoStore) -> None:
    rows = {"": "no key", **{f"k{i:02d}": str(i) for i in range(23)}}
    source, batch, members = batch_of(store, rows)
    commit(store, source, batch, [done(m, rows[m.version.key], batch, f"about {m.version.key}") for m in members[1:]])
    entries = {entry["key"]: entry for entry in store.reports.entries("record", R, page=5)}
    assert sorted(entries) == sorted(rows)
    assert all(entry["summary"] in (None, f"about {key}") for key, entry in entries.items())
    assert Counter(entry["state"] for entry in entries.values()) == {"completed": 23, "pending": 1}


def test_metrics_are_kept_by_batch_and_recipe(store: CozoStore) -> None:
    store.batch_reports.save_metrics(Scope(R, "b1"), {"x": 1.5})
    store.batch_reports.save_metrics(Scope(R, "b1"), {"x": 2.5})
    store.batch_reports.save_metrics(Scope(R, "b2"), {"x": 3})
    assert [row["values"] for row in store.batch_reports.metrics("b1")] == [{"x": 2.5}]
    assert len(store.batch_reports.metrics()) == 2
