"""Signs of progress, for the watchdog that ends a run without any.

They are counters in memory that another process reads: a sign costs well under a microsecond, and needs no thread,
which native code that holds the interpreter's lock would stop too. Without a watchdog they go nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

# Places of the counters, 64-bit unsigned integers; the last one is 1 while a token is expected.
TOKENS, COMMITS, AWAITING_TOKEN = range(3)
BYTES = 3 * 8

_counters: list[memoryview] = []


@contextmanager
def counted_in(counters: memoryview) -> Iterator[None]:
    """Count all signs of this process in ``counters`` while the block runs.

    >>> counters = memoryview(bytearray(BYTES)).cast("Q")
    >>> with counted_in(counters):
    ...     token()
    ...     seen = [(answer, counters[AWAITING_TOKEN]) for answer in awaiting_tokens(["an answer"])]
    >>> seen, counters[TOKENS] > 0, counters[COMMITS]
    ([('an answer', 0)], True, 0)
    """
    _counters.append(counters)
    try:
        yield
    finally:
        _counters[:] = [each for each in _counters if each is not counters]  # equal ones may be of another run


def token() -> None:
    """The engine made progress: one pass through the model, or a reply of a model server."""
    for counters in _counters:
        counters[TOKENS] += 1


def commit() -> None:
    """The run made progress: something was read for a step, or stored."""
    for counters in _counters:
        counters[COMMITS] += 1


def awaiting_tokens(answers: Iterable[T]) -> Iterator[T]:
    """The answers of an engine whose model is loaded; tokens are expected while the next one is computed."""
    stream = iter(answers)
    while True:
        token()
        _expect(1)
        try:
            answer = next(stream)
        except StopIteration:
            return
        finally:
            _expect(0)
        yield answer


def _expect(value: int) -> None:
    for counters in _counters:
        counters[AWAITING_TOKEN] = value
