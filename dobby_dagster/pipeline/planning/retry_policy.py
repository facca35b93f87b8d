"""Which batches are to be run again, when, and when no more: exponential back-off with an end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.domain.states import State
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_states import Member


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A batch with work in it that no run is known to do.

    Attributes:
        batch: Its identifier.
        left: Members that a run would do for the first time, or again because a run that had begun them died.
        failed: Failed members whose error recommends another try.
        due_at: When it is to be run again, in seconds since the epoch; infinite where it was tried often enough.
        tries: Runs that came to the batch in vain since its last commit.
    """

    batch: BatchId
    left: int
    failed: int
    due_at: float
    tries: int

    @property
    def given_up(self) -> bool:
        """Whether nothing but a person starts it again."""
        return self.due_at == math.inf


def back_off(wait: float, tries: int) -> float:
    """Seconds from the ``tries``-th vain try, counted from 1, to the next: ``wait`` doubled with each.

    >>> back_off(300, 1), back_off(300, 3)
    (300.0, 1200.0)
    """
    return math.ldexp(wait, max(0, tries - 1))


def unsettled(store: CozoStore, relation: str, recipe: RecipeId, max_retries: int, wait: float) -> list[Unsettled]:
    """Every batch that was begun under ``recipe`` and has something to do, oldest first.

    A batch that no run was ever asked for is nobody's failure: it is new, or of the time before the model was changed.
    Those that turn out to be settled are no longer remembered as begun, so that the next look is as cheap as it can be.

    Args:
        store: Where states are.
        relation: The source.
        recipe: Under which the states are.
        max_retries: Of a record, and of a batch whose runs commit nothing.
        wait: Seconds before the first retry.
    """
    attempted = store.attempts.batches(relation, recipe)
    left = store.states.unfinished(relation, recipe, max_retries, attempted)
    found = []
    for batch in left:
        scope = Scope(recipe, batch)
        work = [m for m in store.states.members(scope) if m.is_runnable(batch, max_retries)]
        failed = [m for m in work if m.state and m.state.state is State.FAILED]
        attempts = store.attempts.failed(scope)
        due = [_retry_at(member, wait) for member in failed]
        if len(work) > len(failed):
            due.append(_run_at(attempts, max_retries, wait))
        if due:
            found.append(Unsettled(batch, len(work) - len(failed), len(failed), min(due), len(attempts)))
    store.attempts.forget(recipe, [batch for batch in attempted if batch not in left])
    return found


def due(candidates: Iterable[Unsettled]) -> list[Unsettled]:
    """Those whose time has come."""
    now = time.time()
    return [candidate for candidate in candidates if candidate.due_at <= now]


def _retry_at(member: Member, wait: float) -> float:
    tries = member.state.retry_count if member.state else 0
    return member.since + back_off(wait, tries)


def _run_at(attempts: list[float], max_retries: int, wait: float) -> float:
    if not attempts:
        return 0.0
    return math.inf if len(attempts) > max_retries else attempts[-1] + back_off(wait, len(attempts))
