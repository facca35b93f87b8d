"""How far a run is, how fast, and when it will be done: from the chunks that it has committed."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, variance
from typing import Any

from dobby_dagster.domain.scope import BatchId, RecipeId, RunId
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.activity import ActiveRun

RECENT_SECONDS = 10.0


def t_quantile(freedom: int) -> float:
    """Half the width of a 95 % interval in standard deviations that ``freedom`` + 1 values tell.

    Student's distribution, by Abramowitz and Stegun, formula 26.7.5.

    >>> [round(t_quantile(freedom), 2) for freedom in (3, 5, 20, 1_000)]
    [3.18, 2.57, 2.09, 1.96]
    """
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))


@dataclass(frozen=True, slots=True)
class Remaining:
    """The time that a run still needs, as a 95 % interval around ``seconds``; unknown values are None."""

    seconds: float
    margin: float | None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run at one moment. Rates are per minute, times in seconds, sizes in bytes; what is unknown is None.

    Attributes:
        running: Whether it is working now.
        since: When it claimed its first records, in seconds since the epoch; of the last run, its first chunk.
        device_wait_seconds: How long it waited until the device was free.
        batches: The batches that it was started for.
        total: Records that it had to process at its start.
        completed, failed, skipped: Outcomes that it has committed.
        inferred: Of those, the ones that needed the model.
        remaining: Records that are left.
        per_minute_recent: Committed records over the last ten seconds.
        per_minute: Committed records over the whole run.
        tokens_per_second: Output tokens over the last ten seconds.
        left: Time left.
        slots, slots_in_use: Slots of the engine, and their time-weighted mean use; unknown before the first chunk.
        queue_seconds: Mean time that a record waited for a slot; unknown before the first chunk.
        memory_bytes: Of its process, at the last commit; unknown before it.
        cpu_cores: That its process used, over the last ten seconds.
        since_commit: Seconds since the last commit.
        last_error: The last error of a record, empty if there was none.
    """

    run: RunId
    recipe: RecipeId
    running: bool
    since: float | None
    device_wait_seconds: float | None
    batches: Sequence[BatchId]
    total: int
    completed: int
    failed: int
    skipped: int
    inferred: int
    remaining: int
    per_minute_recent: float
    per_minute: float
    tokens_per_second: float | None
    left: Remaining | None
    slots: int | None
    slots_in_use: float | None
    queue_seconds: float | None
    memory_bytes: int | None
    cpu_cores: float | None
    since_commit: float | None
    last_error: str


@dataclass(frozen=True, slots=True)
class Recent:
    """Rates over the last ten seconds; unknown ones are None."""

    per_minute: float
    tokens_per_second: float | None
    cpu_cores: float | None


@dataclass(frozen=True, slots=True)
class _Commit:
    at: float
    records: int
    output_tokens: int | None
    seconds: float
    cpu_seconds: float


@dataclass
class RunHistory:
    """What a run has committed so far, brought up to date chunk by chunk.

    >>> history = RunHistory()
    >>> history.add({"chunk": "1", "started_at": 0.0, "finished_at": 2.0, "completed": 9, "failed": 1, "skipped": 0,
    ...              "inferred": 10, "slots": 4, "slots_in_use": 3.0, "rss_bytes": 5, "cpu_share": 1.5,
    ...              "last_error": "x", "output_tokens": 90, "queue_seconds": 0.1})
    >>> history.records, history.per_minute(), history.time_left(20)
    (10, 300.0, Remaining(seconds=4.0, margin=None))
    """

    last_chunk: str = ""
    first_start: float = math.inf
    last_finish: float = 0.0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    inferred: int = 0
    slots: int | None = None
    memory_bytes: int | None = None
    last_error: str = ""
    _busy: float = 0.0
    _slot_seconds: float = 0.0
    _queued: int = 0
    _queue_seconds: float = 0.0
    _recent: deque[_Commit] = field(default_factory=lambda: deque(maxlen=512))
    # Seconds per record, and records, of the last chunks.
    _paces: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=128))

    @property
    def records(self) -> int:
        """Records whose outcome is committed."""
        return self.completed + self.failed + self.skipped

    def add(self, chunk: dict[str, Any]) -> None:
        """Account for one more committed chunk, a row of the relation of chunks."""
        seconds = chunk["finished_at"] - chunk["started_at"]
        # The commit of the chunk before counts as well: from one commit to the next.
        pace = chunk["finished_at"] - (self.last_finish or chunk["started_at"])
        records = chunk["completed"] + chunk["failed"] + chunk["skipped"]
        self.last_chunk = chunk["chunk"]
        self.first_start = min(self.first_start, chunk["started_at"])
        self.last_finish = max(self.last_finish, chunk["finished_at"])
        self.completed += chunk["completed"]
        self.failed += chunk["failed"]
        self.skipped += chunk["skipped"]
        self.inferred += chunk["inferred"]
        self.slots, self.memory_bytes = chunk["slots"], chunk["rss_bytes"]
        self.last_error = chunk["last_error"] or self.last_error
        self._busy += seconds
        self._slot_seconds += seconds * chunk["slots_in_use"]
        if chunk["queue_seconds"] is not None:
            self._queued += chunk["inferred"]
            self._queue_seconds += chunk["inferred"] * chunk["queue_seconds"]
        cpu_seconds = seconds * chunk["cpu_share"]
        self._recent.append(_Commit(chunk["finished_at"], records, chunk["output_tokens"], seconds, cpu_seconds))
        if records:
            self._paces.append((max(0.0, pace) / records, records))

    def slots_in_use(self) -> float | None:
        """Mean of the slots in use, weighted by time; None before the first chunk."""
        return self._slot_seconds / self._busy if self._busy else None

    def queue_seconds(self) -> float | None:
        """Mean time that a record waited for a slot; None before the first one that did."""
        return self._queue_seconds / self._queued if self._queued else None

    def per_minute(self) -> float:
        """Committed records per minute since the first chunk began."""
        seconds = self.last_finish - self.first_start
        return self.records / seconds * 60 if self.records and seconds > 0 else 0.0

    def recent(self, now: float) -> Recent:
        """The rates over the last ten seconds before ``now``."""
        window = min(RECENT_SECONDS, max(now - self.first_start, 1e-9))
        commits = [commit for commit in self._recent if commit.at > now - window]
        tokens = [commit.output_tokens for commit in commits]
        busy = sum(commit.seconds for commit in commits)
        return Recent(
            per_minute=sum(commit.records for commit in commits) / window * 60,
            tokens_per_second=sum(n for n in tokens if n is not None) / window if None not in tokens else None,
            cpu_cores=sum(commit.cpu_seconds for commit in commits) / busy if busy else None,
        )

    def time_left(self, records: int) -> Remaining | None:
        """The time that ``records`` more take at the pace so far, with a 95 % interval; None before the first chunk.

        The pace of a chunk varies around its mean. The interval has two parts: how well the mean of the ``n`` chunks
        seen is known, and how the ``m`` chunks to come vary: ``t * s * sqrt(m + m * m / n)`` for chunks of the mean
        size. One chunk says nothing about the spread, so the margin is None until there are two.
        """
        if not self._paces:
            return None
        size = fmean(records for _, records in self._paces)
        seconds = [pace * size for pace, _ in self._paces]
        chunks = records / size
        if len(seconds) < 2:
            return Remaining(chunks * fmean(seconds), None)
        spread = math.sqrt(variance(seconds) * (chunks + chunks * chunks / len(seconds)))
        return Remaining(chunks * fmean(seconds), t_quantile(len(seconds) - 1) * spread)


class ProgressReader:
    """The progress of the runs that are working, or of the last one; each call reads only what is new.

    Args:
        store: Where runs commit.
        max_retries: Failed attempts after which a record is quarantined, and left out of what remains.
    """

    def __init__(self, store: CozoStore, max_retries: int) -> None:
        self._store = store
        self._max_retries = max_retries
        self._histories: dict[RunId, RunHistory] = {}
        self._totals: dict[RunId, tuple[list[BatchId], int]] = {}
        self._committed: Mapping[str, float] | None = None
        self._latest: ActiveRun | None = None
        self._starting: list[ActiveRun] = []

    def read(self) -> list[RunProgress]:
        """The runs that are working now, the oldest first; if none is, the one with the last commit, if any."""
        with self._store.connection.session():
            active = self._store.activity.runs()
            found = [self._progress(run.run, run.recipe, run.since) for run in active]
            latest = None if active else self._latest_run()
            if latest:
                found = [self._progress(latest.run, latest.recipe, None)]
            self._starting = [] if active else self._store.activity.starting(latest.since if latest else 0.0)
        kept = {progress.run for progress in found}
        for past in self._histories.keys() - kept:
            del self._histories[past], self._totals[past]
        return found

    def starting(self) -> list[ActiveRun]:
        """The runs that had started at the last reading and had claimed nothing, where no other run was working.

        They load the model, or were ended before: nothing that is stored tells which.
        """
        return self._starting

    def _latest_run(self) -> ActiveRun | None:
        """The run with the last commit; every chunk is read only where something was committed meanwhile."""
        committed = self._store.totals.read().get("records", {})
        if committed != self._committed:
            self._committed, self._latest = committed, self._store.activity.latest_run()
        return self._latest

    def _progress(self, run: RunId, recipe: RecipeId, since: float | None) -> RunProgress:
        """The progress of a run that has been working ``since`` then, or, where None, does not any more."""
        running = since is not None
        history = self._histories.setdefault(run, RunHistory())
        for chunk in self._store.activity.chunks(run, history.last_chunk):
            history.add(chunk)
        if run not in self._totals:
            batches = self._store.activity.batches_of(run)
            self._totals[run] = batches, self._store.activity.share_of(run, recipe, batches, self._max_retries)
        batches, total = self._totals[run]
        remaining = max(0, total - history.records)
        now = time.time()
        recent = history.recent(now) if running else Recent(0.0, None, None)
        return RunProgress(
            run=run,
            recipe=recipe,
            running=running,
            since=history.first_start if since is None and history.records else since,
            device_wait_seconds=self._store.activity.device_wait(run),
            batches=batches,
            total=total,
            completed=history.completed,
            failed=history.failed,
            skipped=history.skipped,
            inferred=history.inferred,
            remaining=remaining,
            per_minute_recent=recent.per_minute,
            per_minute=history.per_minute(),
            tokens_per_second=recent.tokens_per_second,
            left=history.time_left(remaining) if running else None,
            slots=history.slots,
            slots_in_use=history.slots_in_use(),
            queue_seconds=history.queue_seconds(),
            memory_bytes=history.memory_bytes,
            cpu_cores=recent.cpu_cores,
            since_commit=now - history.last_finish if history.records else None,
            last_error=history.last_error,
        )
