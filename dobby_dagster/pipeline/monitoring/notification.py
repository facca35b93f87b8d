"""What is sent about an alert."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel

from dobby_dagster.domain.errors import Severity

Status: TypeAlias = Literal["open", "resolved", "test"]


class Notification(BaseModel, frozen=True):
    """What is delivered, as JSON to a webhook and a command.

    Attributes:
        id: ``KIND:SUBJECT``, the same for the begin and the end of every episode.
        status: ``open`` when it begins or grows, ``resolved`` when it is over, ``test`` from ``dobby alerts --test``.
        at: When that was, in seconds since the epoch; a late delivery keeps it.
        since: When the condition was first seen.
    """

    id: str
    status: Status
    kind: str
    subject: str
    severity: Severity
    title: str
    text: str = ""
    remedy: str = ""
    batches: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    at: float
    since: float
