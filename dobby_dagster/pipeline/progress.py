"""Who wants to know how far planning and summarising are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["planning", "summarizing"]
# Called with the stage, how many records it is further, and how many of those were inferred.
Listener: TypeAlias = Callable[[Stage, int, int], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` called for every page that is planned and every chunk that is committed inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def report(stage: Stage, records: int, inferred: int = 0) -> None:
    """Tell of one page or chunk."""
    for listener in _listeners:
        listener(stage, records, inferred)
