"""A piece of a file, which becomes a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dobby_dagster.ingest.code.references import NOTHING, References


@dataclass(frozen=True, slots=True)
class Piece:
    """A function, a section or another part of a file, or the whole file.

    Attributes:
        name: Qualified inside the file, as ``Class.method``; empty for the whole file.
        kind: ``function``, ``method``, ``class``, ``section``, ``cell``, ``statement``, or ``file``.
        language: As the record's.
        content: Its text, with the comments above it.
        line: Its first line, from 1.
        metadata: The front matter of the file, in its first piece.
        references: What the piece calls and extends, without the pieces in it.
        of_file: What the file refers to outside of its pieces, and what it imports, in its first piece.
    """

    name: str
    kind: str
    language: str
    content: str
    line: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    references: References = NOTHING
    of_file: References = NOTHING


class UnreadableError(Exception):
    """The content of a file does not fit its extension; the message says why."""
