"""The states of a record version, and which of them are left to process."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dobby_dagster.domain.errors import DobbyError, Retry


class State(StrEnum):
    """Where a record version stands under one recipe."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


# How the work on a record version ends.
OUTCOMES = (State.COMPLETED, State.FAILED, State.SKIPPED)
# A record that an earlier batch skipped for one of these is unfinished in a later one: its content came back.
SUPERSEDED, DELETED = "superseded", "deleted"
PASSING_REASONS = (SUPERSEDED, DELETED)
# Why a record is pending again: what its summary says of the functions that it calls is no longer so.
CALLEES_CHANGED = "summaries of callees changed"


def is_quarantined(retry: Retry, retry_count: int, max_retries: int) -> bool:
    """Whether a failed record is not retried until a person releases it."""
    return not retry.may_pass or retry_count >= max_retries


@dataclass(frozen=True, slots=True)
class ProcessingState:
    """A state with what explains it.

    Attributes:
        error, error_code, retry, retry_count: Of a failed record: the message, the error's code, its retry
            recommendation, and the number of failed attempts.
        reason: Of a skipped record.
        owner: Of a record in progress: who works on it, see :mod:`dobby_dagster.domain.owner`.
        batch: The batch in which it came to this state; a record version can be in several.
    """

    state: State
    error: str = ""
    error_code: str = ""
    retry: Retry = Retry.NO_RETRY
    retry_count: int = 0
    reason: str = ""
    owner: str = ""
    batch: str = ""

    def is_unfinished(self, batch: str, max_retries: int) -> bool:
        """Whether a run of ``batch`` has this record left to process, or another run is at it.

        The store has the same rule in CozoScript; a test holds one against the other.
        """
        match self.state:
            case State.PENDING | State.IN_PROGRESS:
                return True
            case State.FAILED:
                return not is_quarantined(self.retry, self.retry_count, max_retries)
            case State.SKIPPED:
                return self.reason in PASSING_REASONS and self.batch < batch  # as text: zero-padded
            case State.COMPLETED:
                return False

    def is_runnable(self, batch: str, max_retries: int, owner_is_alive: bool) -> bool:
        """Whether a run of ``batch`` that starts now processes this record: unfinished, and no living run is at it."""
        taken = self.state is State.IN_PROGRESS and owner_is_alive
        return self.is_unfinished(batch, max_retries) and not taken

    @staticmethod
    def failed(error: DobbyError, retry_count: int) -> ProcessingState:
        """The state of a record whose ``retry_count``-th attempt failed with ``error``."""
        return ProcessingState(
            State.FAILED, error=str(error), error_code=error.code, retry=error.retry, retry_count=retry_count
        )


PENDING = ProcessingState(State.PENDING)
COMPLETED = ProcessingState(State.COMPLETED)


def skipped(reason: str) -> ProcessingState:
    """The state of a record that is left out for ``reason``."""
    return ProcessingState(State.SKIPPED, reason=reason)
