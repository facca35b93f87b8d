"""Who wants to know of each committed chunk; at most one listener a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

# Called with the batch, how many of its records were settled, and how many of those were inferred.
Listener: TypeAlias = Callable[[str, int, int], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` called for every chunk that is committed inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def report(batch: str, settled: int, inferred: int) -> None:
    """Tell of one committed chunk."""
    for listener in _listeners:
        listener(batch, settled, inferred)
