"""Checks of the parts of the system, each within its own time limit."""

from __future__ import annotations

import logging
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
        self._flight = SingleFlight(check)
        self._limit = limit_seconds

    def begin(self) -> None:
        """Start the check without waiting for it."""
        self._flight.begin()

    def result(self) -> Part:
        """The result, at the latest when the time limit is over; nothing is raised."""
        try:
            return self._part(True, self._flight.result(self._limit))
        except LateError:
            return self._part(False, f"no answer within {self._limit:g} s")
        except UnknownPartError as error:
            return self._part(None, str(error))
        except DobbyError as error:
            return self._part(False, str(error))
        except BaseException as error:  # the failure of a check is its result
            _log.warning("a check failed", exc_info=error)
            return self._part(False, f"{type(error).__name__}: {error}")

    def _part(self, ok: bool | None, message: str) -> Part:
        return Part(ok, redact(one_line(message)), round(self._flight.seconds, 4))


def examine(checks: Mapping[str, PartCheck]) -> dict[str, Part]:
    """The results of all ``checks``, which run side by side."""
    for check in checks.values():
        check.begin()
    return {name: check.result() for name, check in checks.items()}


def all_ok(parts: Iterable[Part]) -> bool:
    """Whether every part is known to work."""
    return all(part.ok for part in parts)
