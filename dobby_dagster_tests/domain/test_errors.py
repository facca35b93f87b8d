"""The error hierarchy, and which states are work."""

import pytest

from dobby_dagster.domain import errors
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.states import COMPLETED, PENDING, ProcessingState, State, skipped


def every(kind: type[DobbyError]) -> list[type[DobbyError]]:
    return [kind, *(found for sub in kind.__subclasses__() for found in every(sub))]


@pytest.mark.parametrize("kind", every(DobbyError))
def test_each_error_shows_its_hint(kind: type[DobbyError]) -> None:
    assert str(kind("broken", hint="fix it")) == "broken (fix it)"
    assert str(kind("broken")) == "broken"


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in every(DobbyError)]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("state", "alive", "work"),
    [
        (PENDING, False, True),
        (COMPLETED, False, False),
        (ProcessingState(State.IN_PROGRESS, owner="o"), True, False),
        (ProcessingState(State.IN_PROGRESS, owner="o"), False, True),
        (ProcessingState.failed(errors.InferenceError("x"), 1), False, True),
        (ProcessingState.failed(errors.InferenceError("x"), 3), False, False),
        (ProcessingState.failed(errors.DegenerateOutputError("x"), 1), False, False),
        (skipped("empty content"), False, False),
        (ProcessingState(State.SKIPPED, reason="superseded", batch="batch-000001"), False, False),
        (ProcessingState(State.SKIPPED, reason="superseded", batch="batch-000000"), False, True),
        (ProcessingState(State.SKIPPED, reason="superseded", batch="batch-000002"), False, False),
    ],
)
def test_which_states_are_work(state: ProcessingState, alive: bool, work: bool) -> None:
    assert state.is_runnable("batch-000001", 3, alive) is work
