"""A run that stalls is tried again until the records that stall it are quarantined, and only those."""

import math
from collections.abc import Iterable, Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.owner import retire
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.domain.states import State
from dobby_dagster.inference.engine import Answer, ModelInfo, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.planning.record_selection import release
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE
from dobby_dagster_tests.helpers.records import put

_runs = count()


class KilledError(BaseException):
    """In place of SIGKILL: nothing of the run is released."""


class HangingEngine(FakeEngine):
    """Is killed at a content with ``HANG`` in it, before it answers the rest of its slots."""

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        def stream() -> Iterator[Request]:
            for request in requests:
                if "HANG" in request.content:
                    raise KilledError
                yield request

        yield from super().infer(stream(), prompt)


def attempt(store: CozoStore, engine: FakeEngine, max_retries: int, chunk_size: int = 3) -> bool:
    """One run over all unfinished batches; whether it stalled, was killed, and was recorded as that."""
    run, source = RunId(f"run-{next(_runs)}"), store.source(SourceSettings())
    batches = list(store.states.unfinished("record", RECIPE.id, max_retries))
    store.attempts.note_run(RECIPE.id, batches, run)
    summarizer = Summarizer(store, source, engine, PROMPT, RECIPE, chunk_size, max_retries).__enter__()
    try:
        for batch in batches:
            scope = Scope(RECIPE.id, batch, run)
            members = [m for m in store.states.members_from(source, scope) if m.is_runnable(batch, max_retries)]
            for chunk in summarizer.summarize(members, scope):
                store.chunks.commit(source, chunk, scope)
    except KilledError:
        summarizer._claims._renewal.stop()
        retire(summarizer._claims._owner)
        store.stalls.record(run, StallKind.INFERENCE, 600.0)
        return True
    summarizer.__exit__()
    return False


def prepared(store: CozoStore, records: int, culprits: Iterable[int], batch_size: int = 1_000) -> None:
    put(store, {f"k{i:03d}": f"word{i} {'HANG' if i in set(culprits) else ''}" for i in range(records)})
    plan(store, store.source(SourceSettings()), batch_size)


def states(store: CozoStore) -> dict[str, tuple[State, str, int]]:
    return {
        m.version.key: (m.state.state, m.state.error_code, m.state.retry_count)
        for batch in store.versions.batches()
        for m in store.states.members(Scope(RECIPE.id, batch.id))
        if m.state
    }


@settings(max_examples=25)
@given(
    records=st.integers(1, 60),
    culprits=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    slots=st.integers(1, 6),
    max_retries=st.integers(1, 4),
)
def test_exactly_the_records_that_stall_are_quarantined(
    records: int, culprits: set[int], slots: int, max_retries: int
) -> None:
    store = CozoStore.open(DatabaseSettings(url=f"mem://suspects-{next(_runs)}"))
    culprits = {number % records for number in culprits}
    prepared(store, records, culprits)
    engine = HangingEngine(slots)
    stalls = 0
    while attempt(store, engine, max_retries):
        stalls += 1
        assert stalls < 5 * max_retries + 5, states(store)
        last_due = store.attempts.failed(Scope(RECIPE.id, BatchId("batch-000001")))
        assert len(last_due) <= max(2, max_retries) + len(culprits), "it is not given up before"
    if len(culprits) == 1:
        assert stalls <= max(2, max_retries), "within its retries"
    for key, (state, code, retries) in states(store).items():
        if int(key[1:]) in culprits:
            assert (state, code) == (State.FAILED, "stalled")
            assert retries >= max_retries
        else:
            assert (state, code, retries) == (State.COMPLETED, "", 0)
    rows = store.connection.run("?[count(key)] := *dobby_summary{source, key, fingerprint}").rows
    assert rows == [[records - len(culprits)]]
    assert store.check() == []
    assert store.totals.read().get("errors", {}).get("stalled", 0) >= len(culprits)


@pytest.mark.parametrize("max_retries", [2, 3])
def test_one_culprit_of_a_large_batch_is_alone_within_the_retries(sqlite_store: CozoStore, max_retries: int) -> None:
    prepared(sqlite_store, 200, {57})
    engine = HangingEngine(32)
    stalls = 0
    while attempt(sqlite_store, engine, max_retries, chunk_size=60):
        stalls += 1
    assert stalls == max_retries
    assert states(sqlite_store)["k057"] == (State.FAILED, "stalled", max_retries)
    most = max(engine.asked.values())
    assert most <= 1 + math.ceil(math.log(200, 16)), (
        "an innocent record is inferred again only where it was in progress"
    )


def test_other_batches_go_on_and_the_batch_is_not_given_up(sqlite_store: CozoStore) -> None:
    prepared(sqlite_store, 60, range(12), batch_size=20)
    stalls = 0
    while attempt(sqlite_store, HangingEngine(4), 3):
        stalls += 1
        assert len(sqlite_store.attempts.failed(Scope(RECIPE.id, BatchId("batch-000001")))) <= 3
    found = states(sqlite_store)
    assert [key for key, (state, _, _) in found.items() if state is State.FAILED] == [f"k{i:03d}" for i in range(12)]
    assert len(found) == 60


def test_a_released_record_is_no_suspect(sqlite_store: CozoStore) -> None:
    prepared(sqlite_store, 10, {4})
    while attempt(sqlite_store, HangingEngine(4), 3):
        pass
    batch = BatchId("batch-000001")
    assert release(sqlite_store, "record", RECIPE.id) == {batch: ["k004"]}
    scope = Scope(RECIPE.id, batch)
    assert "k004" not in {key for key, _ in sqlite_store.stalls.suspects(scope)}
    assert states(sqlite_store)["k004"] == (State.PENDING, "", 0)
    assert not attempt(sqlite_store, FakeEngine(4), 3)
    assert states(sqlite_store)["k004"][0] is State.COMPLETED


def test_a_load_that_hangs_makes_no_record_a_suspect(sqlite_store: CozoStore) -> None:
    class NeverLoaded(FakeEngine):
        def load(self) -> ModelInfo:
            raise KilledError

    prepared(sqlite_store, 10, ())
    for number in range(1, 4):
        assert attempt(sqlite_store, NeverLoaded(4), 3)
        assert len(sqlite_store.attempts.failed(Scope(RECIPE.id, BatchId("batch-000001")))) == number
    stalls = sqlite_store.stalls.recent(0)
    assert [(stall.keys, stall.batches, stall.recipe) for stall in stalls] == [([], ["batch-000001"], RECIPE.id)] * 3
    assert not attempt(sqlite_store, FakeEngine(4), 3)
    assert {state for state, _, _ in states(sqlite_store).values()} == {State.COMPLETED}
