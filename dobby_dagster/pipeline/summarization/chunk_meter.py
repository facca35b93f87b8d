"""What each chunk takes: time, processor, memory and the engine's slots."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from dobby_dagster.inference.engine import Engine, Generation
from dobby_dagster.store.ledger.chunk import ChunkStats


class ChunkMeter:
    """Measures from :meth:`restart` on.

    Args:
        engine: Whose slots are measured.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._process = psutil.Process()
        self._start = self._mark()

    def restart(self) -> None:
        """A new chunk begins."""
        self._start = self._mark()

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """What the block takes is not the chunk's."""
        before = self._mark()
        yield
        self._start += self._mark() - before

    def stats(self, answers: Sequence[Generation], device: str | None) -> ChunkStats:
        """What the chunk with these ``answers`` of the engine has taken so far."""
        spent = self._mark() - self._start
        seconds, finished_at = max(spent.at, 1e-9), time.time()
        return ChunkStats(
            started_at=finished_at - seconds,  # a clock that was set back makes no time negative
            finished_at=finished_at,
            latencies=[round(answer.seconds, 6) for answer in answers],
            rss_bytes=self._process.memory_info().rss,
            cpu_share=spent.cpu_seconds / seconds,
            slots=self._engine.slots,
            slots_in_use=spent.slot_seconds / seconds,
            prompt_tokens=_sum_known([answer.prompt_tokens for answer in answers]),
            output_tokens=_sum_known([answer.output_tokens for answer in answers]),
            request_seconds=[answer.slot_seconds for answer in answers],
            device=device if answers else None,
            queue_seconds=[answer.queue_seconds for answer in answers if answer.queue_seconds is not None],
        )

    def _mark(self) -> _Mark:
        times = self._process.cpu_times()
        return _Mark(time.monotonic(), float(times.user + times.system), self._engine.slot_use.seconds)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment: seconds on a clock that never goes back, CPU time of the process, and the time that slots were held."""

    at: float
    cpu_seconds: float
    slot_seconds: float

    def __add__(self, other: _Mark) -> _Mark:
        return _Mark(self.at + other.at, self.cpu_seconds + other.cpu_seconds, self.slot_seconds + other.slot_seconds)

    def __sub__(self, other: _Mark) -> _Mark:
        return self + _Mark(-other.at, -other.cpu_seconds, -other.slot_seconds)


def _sum_known(counts: Sequence[int | None]) -> int | None:
    """The sum; None where one of them is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
