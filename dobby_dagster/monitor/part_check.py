"""Checks of the parts of the system, each within its own time limit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.printable import message as one_line
from dobby_dagster.domain.secrets import redact
from dobby_dagster.monitor.single_flight import SingleFlight

_log = logging.getLogger("dobby.monitor")


class PartError(DobbyError):
    """A part of the system does not work."""

    code = "part"


class UnknownPartError(DobbyError):
    """Whether a part works can't be known, since another part fails."""

    code = "unknown_part"


@dataclass(frozen=True, slots=True)
class Part:
    """The result of a check.

    Attributes:
        ok: Whether the part works; None where that is unknown.
        message: What was found, in one line.
        seconds: How long the check took.
    """

    ok: bool | None
    message: str
    seconds: float


class PartCheck:
    """One check.

    >>> PartCheck(lambda: "all well", 1.0).result().message
    'all well'

    Args:
        check: Returns what it found; raises :class:`DobbyError` where the part does not work.
        limit_seconds: When the part counts as not working.
    """

    def __init__(self, check: Callable[[], str], limit_seconds: float) -> None:
        self._check = check
        self._flight = SingleFlight(self._examine)
        self._limit = limit_seconds

    def begin(self) -> None:
        """Start the check without waiting for it."""
        self._flight.begin()

    def result(self) -> Part:
        """The result, at the latest when the time limit is over; nothing is raised."""
        return self._in_time(self._flight.result)

    def recent(self) -> Part:
        """A result of the last seconds where there is one, without waiting for a new one."""
        return self._in_time(self._flight.recent)

    def _in_time(self, wait: Callable[[float], Part]) -> Part:
        try:
            return wait(self._limit)
        except LateError:
            return Part(False, f"no answer within {self._limit:g} s", round(self._flight.seconds, 4))

    def _examine(self) -> Part:
        began = time.monotonic()
        ok: bool | None
        try:
            ok, message = True, self._check()
        except UnknownPartError as error:
            ok, message = None, str(error)
        except DobbyError as error:
            ok, message = False, str(error)
        except BaseException as error:  # the failure of a check is its result; a panic of CozoDB is no Exception
            _log.warning("a check failed", exc_info=error)
            ok, message = False, f"{type(error).__name__}: {error}"
        return Part(ok, redact(one_line(message)), round(time.monotonic() - began, 4))


def examine(checks: Mapping[str, PartCheck]) -> dict[str, Part]:
    """The results of all ``checks``, which run side by side."""
    for check in checks.values():
        check.begin()
    return {name: check.result() for name, check in checks.items()}


def all_ok(parts: Iterable[Part]) -> bool:
    """Whether every part is known to work."""
    return all(part.ok for part in parts)
