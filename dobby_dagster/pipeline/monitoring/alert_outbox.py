"""Notifications that are still to be delivered, in order for each channel: a state machine without clock or effects."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic import BaseModel

from dobby_dagster.domain.printable import shortened
from dobby_dagster.pipeline.monitoring.notification import Notification

# The wait after a failed delivery to a channel: doubled by each further one.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 15.0, 600.0
MOST_UNDELIVERED, UNDELIVERED_DAYS = 100, 7
LONGEST_ERROR = 200


class Undelivered(BaseModel):
    """A notification, and the channels that have not got it."""

    notification: Notification
    channels: list[str]


class Outage(BaseModel):
    """A channel that failed: how often in a row, when it is tried again, and the last error."""

    failures: int
    due_at: float
    error: str = ""


class Outbox(BaseModel):
    """One queue for each channel: one that fails is tried again, and does not delay the others.

    Attributes:
        undelivered: In the order in which each channel gets them.
        outages: Channels whose last delivery failed.
        dropped: Notifications that were given up, because there were too many or they were too old.
    """

    undelivered: list[Undelivered] = []
    outages: dict[str, Outage] = {}
    dropped: int = 0

    def add(self, new: Iterable[Notification], channels: Collection[str], now: float) -> None:
        """Queue ``new`` for each of ``channels``, and forget channels that are not configured any more."""
        names = sorted(channels)
        self.undelivered += [Undelivered(notification=each, channels=names) for each in new]
        for waiting in self.undelivered:
            waiting.channels = [name for name in waiting.channels if name in channels]
        self.undelivered = [waiting for waiting in self.undelivered if waiting.channels]
        oldest = now - UNDELIVERED_DAYS * 86_400
        kept = [waiting for waiting in self.undelivered if waiting.notification.at >= oldest][-MOST_UNDELIVERED:]
        self.dropped += len(self.undelivered) - len(kept)
        self.undelivered = kept
        self.outages = {name: outage for name, outage in self.outages.items() if name in channels}

    def next_for(self, channel: str, now: float) -> Notification | None:
        """What ``channel`` gets next; None if nothing waits, or it failed and its wait is not over."""
        outage = self.outages.get(channel)
        if outage is not None and now < outage.due_at <= now + LONGEST_WAIT_SECONDS:
            return None
        return next((waiting.notification for waiting in self.undelivered if channel in waiting.channels), None)

    def delivered(self, channel: str, notification: Notification) -> None:
        """Account for a delivery."""
        self.outages.pop(channel, None)
        for waiting in self.undelivered:
            if waiting.notification == notification:
                waiting.channels = [name for name in waiting.channels if name != channel]
        self.undelivered = [waiting for waiting in self.undelivered if waiting.channels]

    def failed(self, channel: str, now: float, error: str) -> None:
        """Account for a failed delivery: the channel is tried again with exponential backoff."""
        failures = self.outages[channel].failures + 1 if channel in self.outages else 1
        wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_WAIT_SECONDS)
        self.outages[channel] = Outage(failures=failures, due_at=now + wait, error=shortened(error, LONGEST_ERROR))
