"""Several generators in parallel, each with its own threads and slots, on one set of weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue

from dobby_dagster.inference.local.generator import Generator
from dobby_dagster.inference.local.sequence import Sequence

# The work of writing an output, in prompt tokens that could be read in that time.
OUTPUT_WORK = 32
# Finished sequences that wait to be taken, at most: about 0.1 s of a small model's work on two cores, which covers the
# commit of a chunk. Then the generators pause, so that little is computed while the caller can't store it.
AHEAD = 16


class ParallelGenerator:
    """Distributes sequences over generators that run in parallel.

    A small model leaves a second core idle half of the time: most of its operations are too small to be split.
    Two generators of half the slots, one core each, never wait for each other.

    Args:
        generators: Each with its own network or a shared one.
        begin: Called first in each generator's thread.
    """

    def __init__(self, generators: Iterable[Generator], begin: Callable[[], None] = lambda: None) -> None:
        self._generators = list(generators)
        self._pool = ThreadPoolExecutor(len(self._generators), "dobby-generator")
        ready = threading.Barrier(len(self._generators))

        def prepare() -> None:
            begin()
            ready.wait()  # no thread takes a second task before all have theirs

        for task in [self._pool.submit(prepare) for _ in self._generators]:
            task.result()

    def run(self, sequences: list[Sequence]) -> Iterator[Sequence]:
        """Generate; sequences come as they are finished. An error of one generator comes after the others' results."""
        count = len(self._generators)
        shares = [share for share in _shares([len(each.prompt_ids) for each in sequences], count) if share]
        finished: SimpleQueue[Sequence | None] = SimpleQueue()
        stop, room = threading.Event(), threading.Semaphore(AHEAD)

        def work(generator: Generator, share: list[int]) -> None:
            try:
                for sequence in generator.run([sequences[index] for index in share]):
                    room.acquire()
                    if stop.is_set():
                        return
                    sequence.seconds /= len(shares)
                    finished.put(sequence)
            finally:
                finished.put(None)

        tasks = [
            self._pool.submit(work, generator, share)
            for generator, share in zip(self._generators, shares, strict=False)
        ]
        try:
            left = len(tasks)
            while left:
                sequence = finished.get()
                if sequence is None:
                    left -= 1
                else:
                    room.release()
                    yield sequence
        finally:
            stop.set()
            room.release(len(sequences) or 1)
            wait(tasks)
        for task in tasks:
            task.result()

    def rest(self) -> None:
        """See :class:`~dobby_dagster.inference.local.generator.Generator`."""
        for each in self._generators:
            each.rest()


def _shares(lengths: list[int], count: int) -> list[list[int]]:
    """Indices of prompts in ``count`` shares of about equal work: each prompt, longest first, to the smallest share.

    >>> _shares([10, 90, 50, 60], 2)
    [[1, 0], [3, 2]]
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    work = [0] * count
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        least = work.index(min(work))
        shares[least].append(index)
        work[least] += lengths[index] + OUTPUT_WORK
    return shares
