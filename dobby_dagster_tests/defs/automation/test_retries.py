"""Retries: as the error recommends, with exponential backoff, up to a limit."""

import time

import dagster as dg
import pytest

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs.automation import retry_schedule
from dobby_dagster.defs.runs.batch_runs import batches_of
from dobby_dagster.defs.runs.step_retries import by_recommendation
from dobby_dagster.domain.errors import (
    InferenceError,
    ModelError,
    SourceError,
    StoreBusyError,
    StoreUnavailableError,
)  # fmt: skip
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import ProcessingState
from dobby_dagster.pipeline.planning.retry_policy import back_off, retry_candidates
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.automation import recipe, settle, versions
from dobby_dagster_tests.helpers.world import Make


def test_back_off_doubles_and_has_an_end(store: CozoStore, settings: Settings) -> None:
    assert [back_off(100, attempts) for attempts in (1, 2, 3)] == [100, 200, 400]
    rid, now = recipe(settings), time.time()
    assert retry_candidates(store, settings, rid) == [], "a batch that was never started has not failed"
    seen = []
    for number in range(4):
        store.attempts.note_run(rid, ["batch-000001"], f"run-{number}")
        [candidate] = retry_candidates(store, settings, rid)
        seen.append((candidate.pending, candidate.attempts, round(candidate.due_at - now, -1)))
        assert not candidate.is_due
    assert seen == [(5, 1, 100), (5, 2, 200), (5, 3, 400), (5, 4, float("inf"))]
    assert candidate.given_up


def test_a_failed_record_is_due_after_its_own_back_off_and_only_if_it_may_get_better(
    store: CozoStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rid = recipe(settings)
    store.attempts.note_run(rid, [batch_id(1), batch_id(2), batch_id(3)], "run")
    for number in (2, 3):
        settle(store, settings, batch_id(number))
    may, never = InferenceError("flaky"), ModelError("wrong")
    members = versions(store, settings, batch_id(1))
    store.states.set_states(members[:1], ProcessingState.failed(may, 2), Scope(rid, batch_id(1), "run"))
    store.states.set_states(members[1:], ProcessingState.failed(never, 1), Scope(rid, batch_id(1), "run"))
    [candidate] = retry_candidates(store, settings, rid)
    assert (candidate.batch, candidate.pending, candidate.failed) == (batch_id(1), 0, 1)
    assert 150 < candidate.due_at - time.time() <= 200
    store.states.set_states(members[:1], ProcessingState.failed(may, 3), Scope(rid, batch_id(1), "run"))
    assert retry_candidates(store, settings, rid) == [], "it has reached the retry limit: quarantined"


def test_the_schedule_runs_what_is_due_and_says_why_nothing(
    store: CozoStore, settings: Settings, instance: dg.DagsterInstance, make_settings: Make
) -> None:
    rid = recipe(settings)
    instance.add_dynamic_partitions("record_batches", [batch_id(1), batch_id(2)])
    store.attempts.note_run(rid, [batch_id(1), batch_id(2), batch_id(3)], "run")
    later = retry_schedule.evaluate(settings, store, instance, "t1")
    assert isinstance(later, dg.SkipReason)
    assert "2 batches waiting for a retry, 0 given up" in (later.skip_message or "")
    at_once = make_settings(pipeline__batch_size=5, model__device="cpu", automation__retry_seconds=0)
    asked = retry_schedule.evaluate(at_once, store, instance, "t1")
    assert isinstance(asked, list)
    assert [list(batches_of(dict(request.tags))) for request in asked] == [[batch_id(1), batch_id(2)]]
    job = build_definitions(settings).resolve_job_def("summarize_batches")
    instance.create_run_for_job(job, tags=dict(asked[0].tags))
    assert isinstance(retry_schedule.evaluate(at_once, store, instance, "t2"), dg.SkipReason), "they are in a run"
    for number in range(5):
        store.attempts.note_run(rid, [batch_id(1)], f"again-{number}")
    for active in instance.get_runs():
        instance.delete_run(active.run_id)
    settle(store, settings, batch_id(2))
    ended = retry_schedule.evaluate(at_once, store, instance, "t3")
    assert isinstance(ended, dg.SkipReason)
    assert "0 batches waiting for a retry, 1 given up (see dobby doctor)" in (ended.skip_message or "")


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (StoreBusyError("busy"), False), (StoreUnavailableError("down"), False), (InferenceError("flaky"), False),
        (ModelError("no model"), True), (SourceError("no relation"), True), (ValueError("nobody foresaw it"), True),
    ],
)  # fmt: skip
def test_a_step_is_retried_as_its_error_recommends(error: Exception, final: bool) -> None:
    @dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
    @by_recommendation()
    def fail() -> None:
        tries.append(1)
        raise error

    @dg.job
    def job() -> None:
        fail()

    tries: list[int] = []
    result = job.execute_in_process(raise_on_error=False)
    assert not result.success
    assert len(tries) == (1 if final else 3)
    if final:
        [failure] = [event for event in result.all_events if event.is_step_failure]
        assert str(error) in failure.step_failure_data.user_failure_data.description
