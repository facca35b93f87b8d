"""Which alerts are open, and what is still to be delivered: a state machine without clock or effects.

Its JSON is the cursor of the sensor ``alerts``, so that it outlives a lost database, a restart and a channel that is
down. For every channel it guarantees: an episode of a condition is sent once when it begins and once, as resolved, when
it is over, in this order. What an update adds is delivered only after the state was stored, so that no end is
forgotten; a process that dies between a delivery and the next storage delivers again: at least once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ValidationError

from dobby_dagster.domain.errors import Severity
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import message, shortened
from dobby_dagster.pipeline.monitoring.conditions import Condition, Kind, Reading

# A condition is over when it was absent for this long; doubled by each episode within FLAP_SECONDS of the one before.
QUIET_SECONDS = 30.0
LONGEST_QUIET_SECONDS = FLAP_SECONDS = 3_600.0
# An alert whose level grows is sent again at most this often.
GROWTH_SECONDS = 900.0
# The wait after a failed delivery to a channel: doubled by each further one.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 15.0, 600.0
# Bounds on the size of the cursor: Dagster stores it with every tick.
MOST_ALERTS_OF_A_KIND, MOST_OVER, MOST_UNDELIVERED, MOST_NAMES = 20, 50, 100, 20
LONGEST_TITLE, LONGEST_TEXT = 200, 1_500
UNDELIVERED_DAYS = 7


class Notification(BaseModel, frozen=True):
    """What is delivered, as JSON to a webhook and a command.

    Attributes:
        id: ``KIND:SUBJECT``, the same for the begin and the end of every episode.
        status: ``open`` when it begins or grows, ``resolved`` when it is over, ``test`` from ``dobby alerts --test``.
        at: When that was, in seconds since the epoch; a late delivery keeps it.
        since: When the condition was first seen.
    """

    id: str
    status: Literal["open", "resolved", "test"]
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


class Alert(BaseModel):
    """A condition that was seen: pending, open, or over and remembered because it may come back.

    Attributes:
        since: When this episode was first seen.
        sent_at: When it was last sent; None while it is pending.
        absent_since: Since when no check finds it.
        over_at: When it was over.
        episodes: Episodes without ``FLAP_SECONDS`` between them.
    """

    kind: Kind
    subject: str
    severity: Severity
    title: str
    batches: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    level: int = 0
    since: float
    sent_at: float | None = None
    absent_since: float | None = None
    over_at: float | None = None
    episodes: int = 1

    @property
    def is_open(self) -> bool:
        """Whether it was sent and is not over."""
        return self.sent_at is not None and self.over_at is None

    @property
    def quiet_seconds(self) -> float:
        """How long it must be absent to be over."""
        return min(QUIET_SECONDS * 2.0 ** min(self.episodes - 1, 20), LONGEST_QUIET_SECONDS)


class Undelivered(BaseModel):
    """A notification, and the channels that have not got it."""

    notification: Notification
    channels: list[str]


class Outage(BaseModel):
    """A channel that failed: how often in a row, when it is tried again, and the last error."""

    failures: int
    due_at: float
    error: str = ""


class AlertState(BaseModel):
    """See the module.

    >>> state = AlertState()
    >>> full = Condition(Kind.DISK, "/", "the disk is nearly full")
    >>> [sent.status for sent in state.update(Reading([full]), ["webhook"], now=0.0)]
    ['open']
    >>> state = AlertState.load(state.dump())
    >>> state.update(Reading([full]), ["webhook"], now=20.0), state.update(Reading([]), ["webhook"], now=40.0)
    ([], [])
    >>> [sent.title for sent in state.update(Reading([]), ["webhook"], now=80.0)]
    ['the disk is nearly full']
    >>> [waiting.notification.status for waiting in state.undelivered]
    ['open', 'resolved']

    Attributes:
        alerts: By the identity of their conditions.
        undelivered: In the order in which each channel gets them.
        outages: Channels whose last delivery failed.
        dropped: Notifications that were given up, because there were too many or they were too old.
    """

    alerts: dict[str, Alert] = {}
    undelivered: list[Undelivered] = []
    outages: dict[str, Outage] = {}
    dropped: int = 0

    @classmethod
    def load(cls, text: str | None) -> AlertState:
        """Parse ``text``; a new state where there is none, or it is invalid."""
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:
            return cls()

    def dump(self) -> str:
        """The state as JSON."""
        return self.model_dump_json(exclude_defaults=True)

    def update(self, reading: Reading, channels: Collection[str], now: float) -> list[Notification]:
        """Account for a reading.

        Args:
            reading: What the checks found.
            channels: Names of all configured channels.
            now: Seconds since the epoch; may go back.

        Returns:
            The new notifications, which are also waiting for each of ``channels``.
        """
        found = self._admitted(reading.conditions)
        new = [self._seen(condition, now) for condition in found.values()]
        for identity in self.alerts.keys() - found.keys():
            if self.alerts[identity].kind not in reading.unknown:
                new.append(self._absent(identity, now))
        over = sorted((a.over_at, identity) for identity, a in self.alerts.items() if a.over_at is not None)
        for _, identity in over[:-MOST_OVER]:
            del self.alerts[identity]
        notifications = [notification for notification in new if notification]
        self._queue(notifications, channels, now)
        return notifications

    def open_alerts(self) -> list[Alert]:
        """The open alerts, the oldest first."""
        return sorted((alert for alert in self.alerts.values() if alert.is_open), key=lambda alert: alert.since)

    def _admitted(self, conditions: Iterable[Condition]) -> dict[str, Condition]:
        """``conditions`` by identity; of each kind those known, then new ones up to the bound."""
        by_identity = {condition.identity: condition for condition in conditions}
        known = Counter(alert.kind for alert in self.alerts.values() if alert.over_at is None)
        admitted = {}
        for identity, condition in by_identity.items():
            alert = self.alerts.get(identity)
            if alert is None or alert.over_at is not None:
                known[condition.kind] += 1
                if known[condition.kind] > MOST_ALERTS_OF_A_KIND:
                    continue
            admitted[identity] = condition
        return admitted

    def _seen(self, condition: Condition, now: float) -> Notification | None:
        alert = self.alerts.get(condition.identity)
        if alert is None or alert.over_at is not None:
            alert = _begun(condition, now, episodes=alert.episodes + 1 if alert else 1)
            self.alerts[condition.identity] = alert
        alert.absent_since = None
        if alert.sent_at is None:
            due = _elapsed(alert.since, now) >= condition.after_seconds
        else:
            due = condition.level > alert.level and _elapsed(alert.sent_at, now) >= GROWTH_SECONDS
        if not due:
            return None
        sent = alert.model_copy(update=_bounded(condition) | {"sent_at": now, "level": condition.level})
        self.alerts[condition.identity] = sent
        text, remedy = shortened(message(condition.text), LONGEST_TEXT), condition.remedy
        return _notification(sent, "open", now, text, remedy)

    def _absent(self, identity: str, now: float) -> Notification | None:
        alert = self.alerts[identity]
        if alert.over_at is not None:
            if _elapsed(alert.over_at, now) >= FLAP_SECONDS:
                del self.alerts[identity]
            return None
        if alert.sent_at is None:
            del self.alerts[identity]
            return None
        alert.absent_since = now if alert.absent_since is None else min(alert.absent_since, now)
        if now - alert.absent_since < alert.quiet_seconds:
            return None
        alert.over_at = now
        minutes = max(1, round(_elapsed(alert.since, alert.absent_since) / 60))
        return _notification(alert, "resolved", now, f"It is over, after {counted(minutes, 'minute')}.")

    def _queue(self, new: Sequence[Notification], channels: Collection[str], now: float) -> None:
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
        self.outages[channel] = Outage(failures=failures, due_at=now + wait, error=shortened(error, LONGEST_TITLE))


def _elapsed(since: float, now: float) -> float:
    """Seconds since ``since``; 0 if the clock was set back."""
    return max(0.0, now - since)


def _bounded(condition: Condition) -> dict[str, object]:
    """What an alert keeps of a condition, one line each, secrets masked."""
    return {
        "severity": condition.severity,
        "title": shortened(message(condition.title), LONGEST_TITLE),
        "batches": condition.batches[:MOST_NAMES],
        "runs": condition.runs[:MOST_NAMES],
    }


def _begun(condition: Condition, now: float, episodes: int) -> Alert:
    kept = {"kind": condition.kind, "subject": condition.subject, "since": now, "episodes": episodes}
    return Alert.model_validate(kept | _bounded(condition))


def _notification(
    alert: Alert, status: Literal["open", "resolved"], now: float, text: str, remedy: str = ""
) -> Notification:
    return Notification(
        id=f"{alert.kind}:{alert.subject}",
        status=status,
        kind=alert.kind,
        subject=alert.subject,
        severity=alert.severity,
        title=alert.title,
        text=text,
        remedy=remedy,
        batches=alert.batches,
        runs=alert.runs,
        at=now,
        since=alert.since,
    )
