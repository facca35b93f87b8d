"""One alert: a condition that was seen, and what has become of it."""

from __future__ import annotations

from pydantic import BaseModel

from dobby_dagster.domain.errors import Severity
from dobby_dagster.domain.printable import message, printable, shortened
from dobby_dagster.pipeline.monitoring.conditions import Condition, Kind
from dobby_dagster.pipeline.monitoring.notification import Notification, Status

# A condition is over when it was absent for this long; doubled by each episode within FLAP_SECONDS of the one before.
QUIET_SECONDS = 30.0
LONGEST_QUIET_SECONDS = FLAP_SECONDS = 3_600.0
# Bounds on the size of the cursor: Dagster stores it with every tick.
MOST_NAMES, LONGEST_TITLE, LONGEST_TEXT = 20, 200, 1_500


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

    @classmethod
    def opened(cls, condition: Condition, now: float, episodes: int) -> Alert:
        """A pending alert for ``condition``."""
        kept = {"kind": condition.kind, "subject": printable(condition.subject), "since": now, "episodes": episodes}
        return cls.model_validate(kept | _bounded(condition))

    def sent(self, condition: Condition, now: float) -> Alert:
        """This alert, sent now as ``condition`` is."""
        return self.model_copy(update=_bounded(condition) | {"sent_at": now, "level": condition.level})

    def notification(self, status: Status, now: float, text: str, remedy: str = "") -> Notification:
        """What is sent about it now; ``text`` may hold secrets, which are masked, and be of any length."""
        return Notification(
            id=f"{self.kind}:{self.subject}",
            status=status,
            kind=self.kind,
            subject=self.subject,
            severity=self.severity,
            title=self.title,
            text=shortened(message(text), LONGEST_TEXT),
            remedy=remedy,
            batches=self.batches,
            runs=self.runs,
            at=now,
            since=self.since,
        )


def _bounded(condition: Condition) -> dict[str, object]:
    """What an alert keeps of a condition, one line each, secrets masked."""
    return {
        "severity": condition.severity,
        "title": shortened(message(condition.title), LONGEST_TITLE),
        "batches": condition.batches[:MOST_NAMES],
        "runs": condition.runs[:MOST_NAMES],
    }
