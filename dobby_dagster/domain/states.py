"""The states of a record version, and which of them are work to do."""

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


# A record that an earlier batch skipped for one of these is work again in a later one: its content came back.
PASSING_REASONS = ("superseded", "deleted")


@dataclass(frozen=True, slots=True)
class ProcessingState:
    """A state with what explains it.

    Attributes:
        error, error_code, retry, retry_count: Of a failed record: the message, the error's code, its retry
            recommendation, and how often it has been tried in vain.
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

    def is_runnable(self, batch: str, max_retries: int, owner_is_alive: bool) -> bool:
        """Whether a run of ``batch`` that meets this state has something to do."""
        match self.state:
            case State.PENDING:
                return True
            case State.IN_PROGRESS:
                return not owner_is_alive
            case State.FAILED:
                return self.retry in (Retry.RETRY, Retry.BACK_OFF) and self.retry_count < max_retries
            case State.SKIPPED:
                return self.reason in PASSING_REASONS and self.batch != batch
            case _:
                return False

    @staticmethod
    def failed(error: DobbyError, retry_count: int) -> ProcessingState:
        """The state of a record that ``error`` befell, at its ``retry_count``-th vain try."""
        return ProcessingState(
            State.FAILED, error=str(error), error_code=error.code, retry=error.retry, retry_count=retry_count
        )


PENDING = ProcessingState(State.PENDING)
COMPLETED = ProcessingState(State.COMPLETED)


def skipped(reason: str) -> ProcessingState:
    """The state of a record that is left out for ``reason``."""
    return ProcessingState(State.SKIPPED, reason=reason)
