"""Which batches to run again and when: exponential backoff, up to a limit."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import State
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_states import Member


@dataclass(frozen=True, slots=True)
class RetryCandidate:
    """A batch that was started but not finished, and that no live run is known to process.

    Attributes:
        batch: Its identifier.
        pending: Members without an outcome, those of runs that died included.
        failed: Failed members whose error recommends a retry.
        due_at: When to run it again, in seconds since the epoch; infinite after the last retry.
        attempts: Runs of the batch that failed since its last commit.
    """

    batch: BatchId
    pending: int
    failed: int
    due_at: float
    attempts: int

    @property
    def is_due(self) -> bool:
        """Whether it may be run again now."""
        return self.due_at <= time.time()

    @property
    def given_up(self) -> bool:
        """Whether it is not retried automatically any more."""
        return self.due_at == math.inf


def back_off(wait: float, attempts: int) -> float:
    """Seconds from the last of ``attempts`` failed attempts to the next: ``wait`` after the first, then doubling.

    >>> back_off(300, 1), back_off(300, 3)
    (300.0, 1200.0)
    """
    return math.ldexp(wait, max(0, attempts - 1))


def retry_candidates(store: CozoStore, settings: Settings, recipe: RecipeId) -> list[RetryCandidate]:
    """All batches that were started under ``recipe`` and have runnable records, oldest first.

    A batch for which no run was ever requested is not one of them: it is new, or older than the model in use. Attempts
    on batches that are finished by now, and their suspects, are forgotten, which keeps the next call cheap.

    Args:
        store: Where states are.
        settings: The source, the retry limit (per record, and per batch whose runs commit nothing) and the first wait.
        recipe: Under which the states are.
    """
    max_retries, wait = settings.pipeline.max_retries, settings.automation.retry_seconds
    attempted = store.attempts.batches(settings.source.relation, recipe)
    unfinished = store.states.unfinished(settings.source.relation, recipe, max_retries, attempted)
    candidates = []
    for batch in unfinished:
        scope = Scope(recipe, batch)
        members = [m for m in store.states.members(scope) if m.is_runnable(batch, max_retries)]
        failed = [m for m in members if m.state and m.state.state is State.FAILED]
        attempts = store.attempts.failed(scope)
        due = [_record_due(member, wait) for member in failed]
        if len(members) > len(failed):
            due.append(_batch_due(attempts, max_retries, wait))
        if due:
            pending = len(members) - len(failed)
            candidates.append(RetryCandidate(batch, pending, len(failed), min(due), len(attempts)))
    finished = [batch for batch in attempted if batch not in unfinished]
    store.attempts.forget(recipe, finished)
    store.stalls.forget_batches(recipe, finished)
    return candidates


def _record_due(member: Member, wait: float) -> float:
    attempts = member.state.retry_count if member.state else 0
    return member.since + back_off(wait, attempts)


def _batch_due(attempts: list[float], max_retries: int, wait: float) -> float:
    if not attempts:
        return 0.0
    return math.inf if len(attempts) > max_retries else attempts[-1] + back_off(wait, len(attempts))
