"""Progress of planning and summarising, reported to listeners in the same process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

# Rows read; records with a known outcome; records with a committed outcome.
Stage: TypeAlias = Literal["planning", "inferring", "summarizing"]
# Called with the stage, the number of records since the last call, and how many of those were inferred.
Listener: TypeAlias = Callable[[Stage, int, int], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` for each page, outcome and committed chunk while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def report(stage: Stage, records: int, inferred: int = 0) -> None:
    """Report one page, outcome or committed chunk to all listeners."""
    for listener in _listeners:
        listener(stage, records, inferred)
