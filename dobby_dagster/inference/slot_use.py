"""How many slots of an engine are in use, over time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class SlotUse:
    """Counts the requests that hold a slot, and integrates their number over time. Safe to use from several threads.

    The mean of the slots in use between two moments is the difference of :attr:`seconds` divided by the time between.

    Args:
        clock: Gives the time in seconds.

    >>> times = iter([0.0, 0.0, 2.0, 5.0])
    >>> use = SlotUse(lambda: next(times))
    >>> use.change(+4)
    >>> use.change(-3)
    >>> use.seconds, use.held
    (11.0, 1)
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._at = clock()
        self.held = 0

    def change(self, count: int) -> None:
        """``count`` more requests hold a slot; fewer where it is negative."""
        with self._lock:
            self._advance()
            self.held += count

    @property
    def seconds(self) -> float:
        """The time that slots were held so far, summed over all slots."""
        with self._lock:
            self._advance()
            return self._seconds

    def _advance(self) -> None:
        now = self._clock()
        self._seconds += self.held * (now - self._at)
        self._at = now
