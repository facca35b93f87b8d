"""Who wants to know how far planning and summarising are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

# Rows that were read; records whose outcome is known; records whose outcome is committed.
Stage: TypeAlias = Literal["planning", "inferring", "summarizing"]
# Called with the stage, how many records it is further, and how many of those were inferred.
Listener: TypeAlias = Callable[[Stage, int, int], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` called inside the block for every page, outcome and committed chunk."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def report(stage: Stage, records: int, inferred: int = 0) -> None:
    """Tell of one page, outcome or chunk."""
    for listener in _listeners:
        listener(stage, records, inferred)
