"""What needs a person's attention now, as data. Each check stands alone: one that fails does not end the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dobby_dagster.domain.errors import DobbyError, Severity, StoreError
from dobby_dagster.domain.printable import printable

# A slow check that took a second is not repeated for so many: monitoring costs less than 1 % of the time.
REST_FACTOR = 200
_log = logging.getLogger("dobby.alerts")


class Kind(StrEnum):
    """What an alert can be about; ``docs/monitoring.md`` explains each."""

    RUN_FAILURE = "run_failure"
    STALENESS = "staleness"
    STALL = "stall"
    CONTRACT = "contract"
    QUARANTINE = "quarantine"
    DISK = "disk"
    DATABASE = "database"
    CONFIDENCE = "confidence"
    BACKUP = "backup"


@dataclass(frozen=True)
class Condition:
    """Something that needs attention for as long as a check finds it.

    >>> Condition(Kind.DISK, "/data", "the disk of /data is nearly full").identity
    'disk:/data'

    Attributes:
        kind, subject: Together the identity, the same in every reading.
        title: One line.
        text: What happened, and what to do.
        severity: Decides the level in the log.
        remedy: A command that helps, for a shell in any folder.
        batches, runs: What it is about, where that is known.
        level: An open alert is sent again when this has grown.
        after_seconds: It is no alert before it has lasted for this long.
    """

    kind: Kind
    subject: str
    title: str
    text: str = ""
    severity: Severity = Severity.ERROR
    remedy: str = ""
    batches: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    level: int = 0
    after_seconds: float = 0.0

    @property
    def identity(self) -> str:
        """``KIND:SUBJECT``, in visible characters: a name of a folder may be no UTF-8, which nothing can store."""
        return f"{self.kind}:{printable(self.subject)}"


@dataclass(frozen=True)
class Check:
    """Finds the conditions of one kind.

    Attributes:
        kind: Of the conditions.
        find: Gives them; an error means that nothing is known now. A slow one that gives up raises TimeoutError.
        version: For a check that reads much, something that changes with its result: it is read again only if this did,
            and not before ``REST_FACTOR`` times as long as it took.
    """

    kind: Kind
    find: Callable[[], Iterable[Condition]]
    version: Callable[[], object] | None = None


@dataclass(frozen=True)
class Reading:
    """The conditions at one moment.

    Attributes:
        conditions: What the checks found.
        unknown: Kinds that could not be checked: their alerts neither begin nor end.
    """

    conditions: Sequence[Condition]
    unknown: Collection[Kind] = ()


@dataclass(frozen=True)
class _Result:
    """What a slow check found at a version, and when it may be read again."""

    version: object
    conditions: Sequence[Condition]
    rests_until: float


@dataclass
class Conditions:
    """Reads all checks; keeps the results of slow ones.

    >>> def full():
    ...     yield Condition(Kind.DISK, "/", "full")
    >>> reading = Conditions().read([Check(Kind.DISK, full), Check(Kind.STALL, lambda: [1 / 0])])
    >>> [condition.identity for condition in reading.conditions], [str(kind) for kind in reading.unknown]
    (['disk:/'], ['stall'])
    """

    _slow: dict[Kind, _Result] = field(default_factory=dict)

    def read(self, checks: Iterable[Check]) -> Reading:
        """The conditions that ``checks`` find; an error in one is a warning in the log."""
        found: list[Condition] = []
        unknown: set[Kind] = set()
        for check in checks:
            try:
                result = list(check.find()) if check.version is None else self._rested(check, check.version())
            except Exception as error:  # monitoring never stops the work
                result = None
                if not isinstance(error, StoreError) or type(error) is StoreError:  # the kind database has the others
                    reason = error if isinstance(error, DobbyError) else f"{type(error).__name__}: {error}"
                    _log.warning("the check for %s alerts failed: %s", check.kind, reason)
            if result is None:
                unknown.add(check.kind)
            else:
                found += result
        return Reading(found, unknown)

    def _rested(self, check: Check, version: object) -> Sequence[Condition] | None:
        """What a slow check finds; None while it rests and something has changed."""
        known, began = self._slow.get(check.kind), time.monotonic()
        if known is not None and (known.version == version or began < known.rests_until):
            return known.conditions if known.version == version else None
        try:
            conditions: Sequence[Condition] | None = list(check.find())
        except TimeoutError as error:
            _log.warning("the check for %s alerts failed: %s", check.kind, error)
            version = conditions = None
        ended = time.monotonic()
        self._slow[check.kind] = _Result(version, conditions or (), ended + (ended - began) * REST_FACTOR)
        return conditions
