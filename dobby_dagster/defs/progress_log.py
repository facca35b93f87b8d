"""The progress of a partition as lines in the run's log, so that it is seen in Dagster while the partition works."""

import logging
import time
from collections.abc import Callable

from dobby_dagster.defs.summary_stream import PartitionStart
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import BatchId
from dobby_dagster.domain.states import State
from dobby_dagster.store.ledger.chunk import Chunk

# Each line is an event that Dagster stores.
INTERVAL_SECONDS = 5.0


class ProgressLog:
    """Writes one line every few seconds at most.

    Args:
        log: The run's log.
        clock: Gives the time in seconds.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._began = self._told = clock()
        self._partition = PartitionStart(BatchId(""), 0)
        self._committed = self._failed = self._in_run = 0

    def start(self, partition: PartitionStart) -> None:
        """A partition begins."""
        self._partition = partition
        self._committed = self._failed = 0

    def committed(self, chunk: Chunk) -> None:
        """Count a chunk of the partition that was committed, and write a line if the last one is old enough."""
        self._committed += len(chunk.outcomes)
        self._in_run += len(chunk.outcomes)
        self._failed += sum(outcome.state.state is State.FAILED for outcome in chunk.outcomes)
        now = self._clock()
        if now - self._told < INTERVAL_SECONDS:
            return
        self._told = now
        self._log.info(
            f"{self._partition.batch}: {self._committed:,} of {counted(self._partition.pending, 'record')} committed, "
            f"{self._failed:,} failed; {self._in_run / (now - self._began) * 60:,.0f} records a minute in this run"
        )
