"""Which alerts are open, and what is still to be delivered: a state machine without clock or effects.

Its JSON is the cursor of the sensor ``alerts``, so that it outlives a lost database, a restart and a channel that is
down. For every channel it guarantees: an episode of a condition is sent once when it begins and once, as resolved, when
it is over, in this order. What an update adds is delivered only after the state was stored, so that no end is
forgotten; a process that dies between a delivery and the next storage delivers again: at least once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from pydantic import BaseModel, ValidationError

from dobby_dagster.domain.plurals import counted
from dobby_dagster.pipeline.monitoring.alert import FLAP_SECONDS, Alert
from dobby_dagster.pipeline.monitoring.alert_outbox import Outbox
from dobby_dagster.pipeline.monitoring.conditions import Condition, Reading
from dobby_dagster.pipeline.monitoring.notification import Notification

# An alert whose level grows is sent again at most this often.
GROWTH_SECONDS = 900.0
# Bounds on the size of the cursor: Dagster stores it with every tick.
MOST_ALERTS_OF_A_KIND, MOST_OVER = 20, 50


class AlertState(BaseModel):
    """See the module.

    >>> from dobby_dagster.pipeline.monitoring.conditions import Kind
    >>> state = AlertState()
    >>> full = Condition(Kind.DISK, "/", "the disk is nearly full")
    >>> [sent.status for sent in state.update(Reading([full]), ["webhook"], now=0.0)]
    ['open']
    >>> state = AlertState.load(state.dump())
    >>> state.update(Reading([full]), ["webhook"], now=20.0), state.update(Reading([]), ["webhook"], now=40.0)
    ([], [])
    >>> [sent.title for sent in state.update(Reading([]), ["webhook"], now=80.0)]
    ['the disk is nearly full']
    >>> [waiting.notification.status for waiting in state.outbox.undelivered]
    ['open', 'resolved']

    Attributes:
        alerts: By the identity of their conditions.
        outbox: What is still to be delivered.
    """

    alerts: dict[str, Alert] = {}
    outbox: Outbox = Outbox()

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
        self.outbox.add(notifications, channels, now)
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
            alert = Alert.opened(condition, now, episodes=alert.episodes + 1 if alert else 1)
            self.alerts[condition.identity] = alert
        alert.absent_since = None
        if alert.sent_at is None:
            due = _elapsed(alert.since, now) >= condition.after_seconds
        else:
            due = condition.level > alert.level and _elapsed(alert.sent_at, now) >= GROWTH_SECONDS
        if not due:
            return None
        self.alerts[condition.identity] = sent = alert.sent(condition, now)
        return sent.notification("open", now, condition.text, condition.remedy)

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
        return alert.notification("resolved", now, f"It is over, after {counted(minutes, 'minute')}.")


def _elapsed(since: float, now: float) -> float:
    """Seconds since ``since``; 0 if the clock was set back."""
    return max(0.0, now - since)
