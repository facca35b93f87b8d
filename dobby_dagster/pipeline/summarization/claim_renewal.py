"""A thread that renews the claims of this process for as long as it works, so that other hosts leave them alone.

It does not depend on inference: a slow engine loses no claim. A process that was suspended, or cut off from the
database, for longer than its claims are valid notices it at the next renewal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.scope import OwnerId
from dobby_dagster.store.ledger.renewals import Renewals

# Renewals in the time for which a claim is valid: three may fail before it is lost.
RENEWALS = 4
_JOIN_SECONDS = 2.0
log = logging.getLogger("dobby.claims")


class ClaimRenewal:
    """Renews the claims of one owner while the block of this context manager runs; the owner is forgotten then.

    Args:
        renewals: Where to. That it fails is no error: it is tried again.
        owner: Whose claims.
        seconds: How long they are valid after each renewal.
    """

    def __init__(self, renewals: Renewals, owner: OwnerId, seconds: float) -> None:
        self._renewals = renewals
        self._owner = owner
        self._seconds = seconds
        self._changed = threading.Condition()
        self._last = uptime()
        self._waited_at = float("-inf")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="dobby-claims")
        self.lapses = 0

    def __enter__(self) -> ClaimRenewal:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._thread.join(_JOIN_SECONDS)
        if not self._thread.is_alive():  # else it waits for a server that does not answer
            with self._logged("%s is still listed as an owner of claims"):
                self._renewals.remove(self._owner)

    def renew(self) -> None:
        """Renew the claims once, and count a lapse if they had become invalid.

        Raises:
            DobbyError: The database can't be used now.
        """
        lapsed = self._renewals.renew(self._owner, self._seconds)
        with self._changed:
            if lapsed or self._is_overdue():
                self.lapses += 1
                log.warning("the claims of this run had lapsed: it was suspended or cut off; what it lost is left out")
            self._last = uptime()
            self._changed.notify_all()

    def catch_up(self) -> None:
        """After a pause of this process: wait a second for the thread, so that a lapse is known before work goes on."""
        with self._changed:
            if self._is_overdue() and uptime() - self._waited_at > self._seconds:
                self._changed.wait_for(lambda: not self._is_overdue(), 1.0)
                self._waited_at = uptime()

    def stop(self) -> None:
        """Renew no more, without a word to the database: as if the process had died."""
        self._ended.set()

    def _run(self) -> None:
        """Renew often enough for three failures in a row to lose nothing."""
        while True:
            with self._logged("the claims of %s could not be renewed"):
                self.renew()
            if self._ended.wait(self._seconds / RENEWALS):
                return

    @contextmanager
    def _logged(self, what: str) -> Iterator[None]:
        try:
            yield
        except DobbyError as error:
            log.info(f"{what}: %s", self._owner, error)

    def _is_overdue(self) -> bool:
        return uptime() - self._last > self._seconds


def uptime() -> float:
    """Seconds on a clock that also counts while the machine is suspended, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
