"""What is done to the system, and when: the same for the same seed."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass

# Each process of the system; "supervisor" is `dobby dev` alone, "all" is everything at once.
TARGETS = ("worker", "watchdog", "code server", "daemon", "web server", "monitor", "log filter", "supervisor", "all")
# The log filter ignores SIGTERM: it ends with the last process that logs.
ONLY_KILLED = ("all", "log filter")
CHANGE = "change"
TERM_SHARE = 0.25
# Shares of the run: kills in the busy part, then none, so that a leak shows in processes that live on.
BUSY_FROM, BUSY_TO, LAST_KILL = 0.08, 0.6, 0.97
CHANGES = (0.25, 0.45)
MINUTES_PER_KILL = 1.5


@dataclass(frozen=True)
class Event:
    """One thing that is done.

    Attributes:
        at: Seconds since the arrivals began.
        target: One of ``TARGETS``, which is killed; or ``CHANGE``: the recipe changes.
        signal: What the target gets; 0 for a change.
        delay: Seconds to wait once the target is there, so that a worker is hit at any point of its work.
    """

    at: float
    target: str
    signal: int = 0
    delay: float = 0.0

    def __str__(self) -> str:
        return f"{self.target}, {signal.Signals(self.signal).name}" if self.signal else "change of recipe"


def timeline(minutes: float, seed: int, targets: tuple[str, ...] = TARGETS) -> list[Event]:
    """The events of a run, in their order: every target is killed at least once, in rounds, and the recipe changes.

    >>> [str(event) for event in timeline(1, 0)][:2] == [str(event) for event in timeline(1, 0)][:2]
    True
    """
    drawn, seconds = random.Random(seed), minutes * 60
    rounds = max(1, round(minutes * (BUSY_TO - BUSY_FROM) / MINUTES_PER_KILL / len(targets)))
    order = [target for _ in range(rounds) for target in drawn.sample(targets, len(targets))]
    gap = seconds * (BUSY_TO - BUSY_FROM) / len(order)
    events = [_kill(drawn, seconds * BUSY_FROM + gap * (n + drawn.random()), target) for n, target in enumerate(order)]
    events.append(_kill(drawn, seconds * LAST_KILL, "all"))
    events += [Event(seconds * share, CHANGE) for share in (CHANGES if minutes >= 10 else CHANGES[-1:])]
    return sorted(events, key=lambda event: event.at)


def _kill(drawn: random.Random, at: float, target: str) -> Event:
    number = signal.SIGTERM if drawn.random() < TERM_SHARE and target not in ONLY_KILLED else signal.SIGKILL
    return Event(at, target, number, drawn.uniform(0, 4))
