"""A run that was ended because it made no progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dobby_dagster.domain.scope import BatchId, RecipeId, RunId


class StallKind(StrEnum):
    """What did not come in time: a token, or a commit; by the section of the setting ``stall_seconds``."""

    INFERENCE = "inference"
    PIPELINE = "pipeline"

    @property
    def missing(self) -> str:
        """What did not come."""
        return "token" if self is StallKind.INFERENCE else "commit"


@dataclass(frozen=True, slots=True)
class Stall:
    """A run that was ended because it made no progress.

    Attributes:
        run: Its identifier.
        recipe: Model, prompt and settings; empty if it had claimed nothing.
        batches: The batches of ``keys``; all that it was started for if it had claimed nothing.
        at: When it was ended, in seconds since the epoch.
        kind: Which deadline it missed.
        seconds: How long it had made no progress.
        keys: Records that it had claimed and not committed.
    """

    run: RunId
    recipe: RecipeId
    batches: Sequence[BatchId]
    at: float
    kind: StallKind
    seconds: float
    keys: Sequence[str]
