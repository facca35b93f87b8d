"""Which records are left to process: the rule in Python and the rule in CozoScript are one."""

import subprocess
import sys
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import Retry
from dobby_dagster.domain.owner import new_owner, owner_of
from dobby_dagster.domain.scope import BatchId, OwnerId, RecipeId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.domain.states import PASSING_REASONS, ProcessingState, State
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.ledger import batch_of

BATCHES = (BatchId("batch-000001"), BatchId("batch-000000"), BatchId("batch-000002"))
LIVING = new_owner()
_recipes = count()


def dead_owner() -> OwnerId:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_of(process.pid)
    process.communicate(b"\n")
    return owner


STATES = st.builds(
    ProcessingState,
    state=st.sampled_from(State),
    retry=st.sampled_from(Retry),
    retry_count=st.integers(0, 5),
    reason=st.sampled_from([*PASSING_REASONS, "empty content", ""]),
    owner=st.sampled_from([LIVING, dead_owner(), OwnerId("elsewhere/1/2.00/x"), OwnerId("")]),
    batch=st.sampled_from(BATCHES),
)


@pytest.fixture(scope="module")
def ledger() -> CozoStore:
    store = CozoStore.open(DatabaseSettings(url="mem://unfinished"))
    batch_of(store, {"a": "1", "b": "2", "c": "3"})
    return store


@given(states=st.lists(st.none() | STATES, min_size=3, max_size=3), max_retries=st.integers(0, 5))
def test_the_database_counts_the_records_that_the_states_call_unfinished(
    ledger: CozoStore, states: list[ProcessingState | None], max_retries: int
) -> None:
    scope = Scope(RecipeId(f"recipe-{next(_recipes)}"), BATCHES[0])
    members = ledger.states.members(scope)
    for member, state in zip(members, states, strict=True):
        if state is not None:
            ledger.states.set_states([member.version], state, Scope(scope.recipe, BatchId(state.batch), RunId("run")))
    members = ledger.states.members(scope)
    assert [member.state for member in members] == states
    unfinished = [m for m in members if m.state is None or m.state.is_unfinished(scope.batch, max_retries)]
    assert ledger.states.unfinished("record", scope.recipe, max_retries).get(scope.batch, 0) == len(unfinished)
    runnable = [m for m in members if m.is_runnable(scope.batch, max_retries)]
    at_work = [m for m in unfinished if m.state and m.state.state is State.IN_PROGRESS and not m.is_abandoned]
    assert [m for m in unfinished if m not in at_work] == runnable
    assert all(m.state and m.state.owner in (LIVING, "elsewhere/1/2.00/x") for m in at_work)
