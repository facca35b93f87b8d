"""Several generators at once, each with its own threads and slots, on one set of weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from queue import SimpleQueue

from dobby_dagster.inference.local.generator import Generator
from dobby_dagster.inference.local.prompt_encoding import Encoded
from dobby_dagster.inference.local.token_selection import Written

# What writing an output takes, in tokens of a prompt to read.
OUTPUT_WORK = 32


class ParallelGenerator:
    """Shares prompts out among generators that run side by side.

    A small model leaves a second core idle half of the time: most of its operations are too small to be split.
    Two generators of half the slots, one core each, wait for nobody.

    Args:
        generators: With a network of their own or a shared one.
        begin: Called in each thread first.
    """

    def __init__(self, generators: Sequence[Generator], begin: Callable[[], None] = lambda: None) -> None:
        self._generators = list(generators)
        self._pool = ThreadPoolExecutor(len(self._generators), "dobby-generator")
        ready = threading.Barrier(len(self._generators))

        def prepare() -> None:
            begin()
            ready.wait()  # so that each thread of the pool comes by once

        for task in [self._pool.submit(prepare) for _ in self._generators]:
            task.result()

    def run(self, prompts: Sequence[Encoded], seeds: Sequence[str]) -> Iterator[Written]:
        """Outputs as they are finished; what one generator raises comes after the outputs of the others."""
        parts = [part for part in _shares([len(prompt.ids) for prompt in prompts], len(self._generators)) if part]
        finished: SimpleQueue[Written | None] = SimpleQueue()
        stop = threading.Event()

        def work(generator: Generator, part: list[int]) -> None:
            try:
                for written in generator.run([prompts[i] for i in part], [seeds[i] for i in part]):
                    if stop.is_set():
                        return
                    finished.put(replace(
                        written, index=part[written.index], seconds=written.seconds / len(parts),
                        company=written.company * len(parts),
                    ))  # fmt: skip
            finally:
                finished.put(None)

        tasks = [
            self._pool.submit(work, generator, part) for generator, part in zip(self._generators, parts, strict=False)
        ]
        try:
            left = len(tasks)
            while left:
                written = finished.get()
                if written is None:
                    left -= 1
                else:
                    yield written
        finally:
            stop.set()
            wait(tasks)
        for task in tasks:
            task.result()


def _shares(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Indices of prompts in ``count`` parts of about the same work: the longest first, to whom has least to do."""
    parts: list[list[int]] = [[] for _ in range(count)]
    work = [0] * count
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        least = work.index(min(work))
        parts[least].append(index)
        work[least] += lengths[index] + OUTPUT_WORK
    return parts
