"""What one record brings costs that record only: values that CozoDB can't hold, or that it refuses."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from dobby_dagster.domain.errors import InferenceError, StoreBusyError, StoreError
from dobby_dagster.domain.records import Record
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.states import DELETED, SUPERSEDED, ProcessingState, skipped
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Outcome
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, entries, run
from dobby_dagster_tests.helpers.records import put

ROWS = {"a": "1", "b": "2", "c": "3"}


def outcomes(store: CozoStore) -> tuple[Any, str, list[Outcome]]:
    source, batch, members = batch_of(store, dict(ROWS))
    return source, batch, [done(member, ROWS[member.version.key], batch) for member in members]


def states(store: CozoStore) -> dict[str, tuple[str, str]]:
    return {entry["key"]: (entry["state"], entry["error"]) for entry in store.reports.entries("record", R)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "half \ud83d"}, r"text has a lone surrogate: 'half \\ud83d'"),
        ({"finish_reason": "\udcff"}, "finish_reason has a lone surrogate"),
        ({"confidence": math.nan}, "confidence is nan"),
        ({"min_logprob": -math.inf}, "min_logprob is -inf"),
        ({"output_tokens": 10**30}, "output_tokens is 10+, past 64 bits"),
        ({"prompt_tokens": "many"}, "can't be stored"),
        ({"text": None}, "can't be stored"),
    ],
)
def test_one_outcome_that_can_not_be_stored_fails_alone(
    store: CozoStore, changes: dict[str, Any], message: str
) -> None:
    source, batch, made = outcomes(store)
    assert made[1].summary is not None
    made[1] = replace(made[1], summary=replace(made[1].summary, **changes))
    assert commit(store, source, batch, made) == set()
    found = states(store)
    assert (found["a"], found["c"]) == (("completed", ""), ("completed", ""))
    assert found["b"][0] == "failed"
    assert re.search(message, found["b"][1])
    assert store.states.counts(Scope(R, batch))["completed"] == 2
    [chunk] = store.batch_reports.chunks(Scope(R, batch))
    assert (chunk["completed"], chunk["failed"]) == (2, 1)


def test_errors_and_names_are_stored_with_escapes(store: CozoStore) -> None:
    source, batch, made = outcomes(store)
    error = InferenceError("the server said \udce9")
    made[0] = replace(made[0], summary=None, state=ProcessingState.failed(error, 1))
    assert made[2].summary is not None
    made[2] = replace(made[2], summary=replace(made[2].summary, model="caf\udce9"))
    commit(store, source, batch, made)
    assert states(store)["a"] == ("failed", r"the server said \udce9")
    assert [row["model"] for row in store.reports.summaries_of("record", "c", R)] == [r"caf\udce9"]
    store.recipes.remember(Recipe("p@1", "text \ud800", "caf\udce9", "1", {"stop": ["\udfff"]}))
    assert [row["model"] for row in store.recipes.all()] == [r"caf\udce9"]


def test_records_with_lone_surrogates_are_written_with_escapes(store: CozoStore) -> None:
    odd = Record(
        "caf\udce9.py", "x = '\ud83d'", "root", "text", "python", metadata={"path": "caf\udce9.py", "l": ["\ud800"]}
    )
    assert store.records.put_changed([odd, Record("plain", "1", "root")], "root") == 2
    assert store.records.put_changed([odd, Record("plain", "1", "root")], "root") == 0
    found = store.source(SourceSettings()).get([r"caf\udce9.py"])[r"caf\udce9.py"]
    assert (found.content, found.metadata) == (r"x = '\ud83d'", {"path": r"caf\udce9.py", "l": [r"\ud800"]})


def test_a_chunk_that_fails_for_another_reason_is_not_taken_apart(
    any_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, batch, made = outcomes(any_store)
    tries = []

    def refuse(*args: Any, **named: Any) -> None:
        tries.append(args)
        raise StoreBusyError("locked")

    with monkeypatch.context() as patch, pytest.raises(StoreError, match="locked"):
        patch.setattr(any_store.connection, "run", refuse)
        commit(any_store, source, batch, made)
    assert len(tries) == 1


def test_a_content_that_changes_and_changes_back_is_tried_again(any_store: CozoStore) -> None:
    put(any_store, {"a": "word1", "b": "word2"})
    commit_of = any_store.chunks._commit

    def meddle(*args: Any) -> set[str]:
        put(any_store, {"a": "changed"})
        superseded = commit_of(*args)
        put(any_store, {"a": "word1"})
        return superseded

    any_store.chunks._commit = meddle  # type: ignore[method-assign]
    run(any_store, FakeEngine())
    del any_store.chunks._commit  # type: ignore[method-assign]
    assert (entries(any_store)["a"]["state"], entries(any_store)["b"]["state"]) == ("failed", "completed")
    run(any_store, FakeEngine())
    assert entries(any_store)["a"]["state"] == "completed"


@pytest.mark.parametrize("away", ["edited", "deleted"])
def test_a_content_that_is_back_before_the_next_plan_is_summarized(any_store: CozoStore, away: str) -> None:
    put(any_store, {"a": "word1", "b": "word2"})

    def change(_: object) -> None:
        if away == "edited":
            put(any_store, {"a": "changed"})
        else:
            any_store.connection.run("?[key] <- [['a']] :rm record {key}", write=True)

    run(any_store, FakeEngine(), before_commit=change)
    assert entries(any_store)["a"]["state"] == "skipped"
    put(any_store, {"a": "word1"})
    for _ in range(2):
        run(any_store, FakeEngine())
        assert entries(any_store)["a"]["state"] == "completed"
        assert len(any_store.versions.batches()) == 2, "it came back in one new batch"


def test_a_version_in_two_batches_that_is_gone_is_finished_in_both(any_store: CozoStore) -> None:
    for content in ("word1", "word2", "word1", "word3"):
        put(any_store, {"a": content})
        plan(any_store, any_store.source(SourceSettings()), 20)
    assert len(any_store.states.unfinished("record", RECIPE.id, 3)) == 4
    run(any_store, FakeEngine())
    assert any_store.states.unfinished("record", RECIPE.id, 3) == {}


@pytest.mark.parametrize("reason", [SUPERSEDED, DELETED])
def test_a_content_that_is_back_when_its_skip_is_committed_is_tried_again(store: CozoStore, reason: str) -> None:
    source, batch, made = outcomes(store)
    assert commit(store, source, batch, [replace(made[0], state=skipped(reason), summary=None)]) == set()
    assert states(store)["a"] == ("failed", "its content changed for a moment while it was summarised")


@pytest.mark.parametrize("text", ["half \ud83d", None])
def test_each_attempt_that_can_not_be_stored_counts_until_the_record_is_quarantined(
    store: CozoStore, text: str | None
) -> None:
    source, batch, made = outcomes(store)
    scope = Scope(R, batch)
    for attempt in (1, 2, 3):
        assert made[1].summary is not None
        bad = replace(made[1], summary=replace(made[1].summary, text=text), attempt=attempt)
        commit(store, source, batch, [bad])
        [member] = [m for m in store.states.members(scope) if m.version.key == made[1].version.key]
        assert member.state is not None
        assert member.state.retry_count == attempt
        assert member.is_runnable(batch, 3) is (attempt < 3)
