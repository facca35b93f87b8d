"""What a file is cut into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file.

    Attributes:
        name: Qualified inside the file, as ``Class.method``; empty for the whole file.
        kind: ``function``, ``method``, ``class``, ``section``, ``cell``, ``statement``, or ``file``.
        line: Where it begins, from 1.
        metadata: What the file says of itself, in its first piece.
    """

    name: str
    kind: str
    language: str
    content: str
    line: int
    metadata: Mapping[str, Any] = field(default_factory=dict)


class UnreadableError(Exception):
    """A file is not what its name says; the message says why."""
