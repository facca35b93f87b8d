"""Counts and selections over any number of records, in memory that does not grow with them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from dobby_dagster.domain.errors import Retry
from dobby_dagster.domain.states import State, is_quarantined
from dobby_dagster.pipeline.reporting.doubtful_summaries import DoubtfulCounts

Row: TypeAlias = Mapping[str, Any]

BINS = 20
LISTED = 10
EXAMPLES = 3
# More error codes than these are counted together.
CODES = 40
OTHER = "other"


@dataclass(slots=True)
class FailureKind:
    """The failed records with one error code.

    Attributes:
        count: How many there are.
        quarantined: How many of them are not retried until they are released.
        examples: The first ``EXAMPLES`` of them, by key.
    """

    count: int = 0
    quarantined: int = 0
    examples: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Amount:
    """A sum over values of which some may be unknown.

    >>> amount = Amount()
    >>> for value in (10, None, 20):
    ...     amount.add(value)
    >>> amount.mean, amount.largest, amount.unknown
    (15.0, 20, 1)
    """

    total: float = 0
    known: int = 0
    unknown: int = 0
    largest: float | None = None

    def add(self, value: float | None) -> None:
        """Count one value."""
        if value is None:
            self.unknown += 1
            return
        self.total += value
        self.known += 1
        self.largest = value if self.largest is None else max(self.largest, value)

    @property
    def mean(self) -> float | None:
        """Of the known values; None where there is none."""
        return self.total / self.known if self.known else None


class RecordTally:
    """What the records of a report add up to.

    Args:
        unsure_below: Summaries of lower confidence count as unsure.
        max_retries: Failed attempts after which a record is quarantined.

    Attributes:
        states: Records by state; every state is there.
        reasons: Skipped records by reason.
        failures: Failed records by error code.
        confidence: Of the summaries.
        confidence_bins: Summaries by confidence, in ``BINS`` equal parts of [0, 1].
        doubts: Summaries that need review.
        prompt_tokens, output_tokens: Of the summaries.
        least_confident, slowest: The ``LISTED`` first rows by these.
        sample: ``LISTED`` rows with a summary, chosen by the hash of their keys: the choice is the same in every report
            as long as these records exist, however many others come.
    """

    def __init__(self, unsure_below: float, max_retries: int) -> None:
        self._unsure_below = unsure_below
        self._max_retries = max_retries
        self.states: dict[str, int] = dict.fromkeys((state.value for state in State), 0)
        self.reasons: Counter[str] = Counter()
        self.failures: dict[str, FailureKind] = {}
        self.confidence, self.prompt_tokens, self.output_tokens = Amount(), Amount(), Amount()
        self.confidence_bins = np.zeros(BINS, dtype=np.int64)
        self.doubts = DoubtfulCounts()
        self.least_confident: list[Row] = []
        self.slowest: list[Row] = []
        self.sample: list[Row] = []

    @property
    def records(self) -> int:
        """All records."""
        return sum(self.states.values())

    @property
    def summaries(self) -> int:
        """Those with a summary of their present content."""
        return self.doubts.summaries

    def add(self, rows: Sequence[Row]) -> None:
        """Count a page of rows of :meth:`~dobby_dagster.store.ledger.report_pages.ReportPages.records`."""
        for row in rows:
            self.states[row["state"]] += 1
            if row["state"] == State.FAILED:
                self._add_failure(row)
            elif row["state"] == State.SKIPPED:
                reason = row["reason"]
                self.reasons[reason if reason in self.reasons or len(self.reasons) < CODES else OTHER] += 1
        self._add_summaries([row for row in rows if row["fingerprint"] is not None])

    def _add_failure(self, row: Row) -> None:
        code = row["error_code"] or OTHER
        kind = self.failures.setdefault(
            code if code in self.failures or len(self.failures) < CODES else OTHER, FailureKind()
        )
        kind.count += 1
        kind.quarantined += is_quarantined(Retry(row["retry"]), row["retry_count"], self._max_retries)
        if len(kind.examples) < EXAMPLES:
            kind.examples.append(row)

    def _add_summaries(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.confidence.add(row["confidence"])
            self.prompt_tokens.add(row["prompt_tokens"])
            self.output_tokens.add(row["output_tokens"])
        known = [row for row in rows if row["confidence"] is not None]
        bins = np.minimum((np.array([row["confidence"] for row in known]) * BINS).astype(np.int64), BINS - 1)
        self.confidence_bins += np.bincount(bins, minlength=BINS)
        self.doubts = self.doubts + DoubtfulCounts.of(rows, self._unsure_below)
        inferred = [row for row in rows if row["inference_seconds"]]
        self.least_confident = _first(self.least_confident, known, lambda row: row["confidence"])
        self.slowest = _first(self.slowest, inferred, lambda row: -row["inference_seconds"])
        self.sample = _first(self.sample, rows, lambda row: hashlib.sha256(row["key"].encode()).digest())


def _first(before: list[Row], rows: Iterable[Row], rank: Callable[[Row], Any]) -> list[Row]:
    return nsmallest(LISTED, chain(before, rows), key=rank)
