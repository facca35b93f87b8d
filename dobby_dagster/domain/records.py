"""Records, their versions, and how a content becomes bytes, a hash and a text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from dobby_dagster.domain.scope import BatchId


class Structured(str):
    """A structured content, as the JSON text that the database has for it.

    It is parsed only when a value in it is needed: parsing would round large numbers, and fail on deep nesting.

    >>> Structured('{"a": 1}') == {"a": 1}
    True
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        """Whether it is the same text, or the JSON of ``other``."""
        return str.__eq__(self, other) if isinstance(other, str) else bool(json.loads(self) == other)


Content: TypeAlias = str | bytes | Structured | dict[str, Any] | list[Any] | int | float | bool | None
ContentKind: TypeAlias = Literal["text", "binary", "structured", "empty"]


def kind_of(content: Content) -> ContentKind:
    """The kind of a content; one of white space only counts as empty."""
    if isinstance(content, Structured):
        return "structured"
    if content is None or (isinstance(content, str | bytes) and not content.strip()):
        return "empty"
    if isinstance(content, str):
        return "text"
    return "binary" if isinstance(content, bytes) else "structured"


def content_bytes(content: Content) -> bytes:
    """The canonical bytes of ``content``: UTF-8 for text, itself for binary, sorted compact JSON for the rest."""
    if isinstance(content, Structured):
        return _json(content, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    if isinstance(content, bytes):
        return content
    return _json(content, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _json(content: Content, **style: Any) -> str:
    """JSON in a style; as the database has it where it is nested too deep for Python or a number is too long for it."""
    try:
        value = json.loads(content) if isinstance(content, Structured) else content
        return json.dumps(value, ensure_ascii=False, default=list, **style)  # bytes inside, as Cozo has them: numbers
    except (RecursionError, ValueError):
        if isinstance(content, Structured):
            return content
        raise


def content_hash(content: Content) -> str:
    """SHA-256 (hex) of the content's type and canonical bytes: the identity of a record version."""
    structured = isinstance(content, Structured) or not isinstance(content, str | bytes)
    tag = b"structured" if structured else b"text" if isinstance(content, str) else b"binary"
    return hashlib.sha256(tag + b"\0" + content_bytes(content)).hexdigest()


def readable_text(content: Content) -> str | None:
    """The content as a model reads it; None if it is not text.

    Bytes count as text where they are valid UTF-8 without NUL; structured content is indented JSON.
    """
    if isinstance(content, str) and not isinstance(content, Structured):
        return content
    if isinstance(content, bytes):
        try:
            return None if b"\0" in content else content.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return _json(content, indent=1)


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the source relation as Dobby sees it.

    Attributes:
        key: The row's key as text; see :mod:`dobby_dagster.store.source.row_keys` for keys of other types.
        content: Text, bytes, or any JSON value; the database gives the latter as :class:`Structured`.
        source: The relation that the record is in.
        content_type: What the content is, for people: ``function``, ``class``, ``section``, ``text``…
        language: A programming or natural language, lower case; empty where it is not known.
        priority: Higher is batched first.
        metadata: Any further columns, by name.
        created_at, updated_at: Seconds since the epoch; None where the source does not say.
    """

    key: str
    content: Content
    source: str
    content_type: str = "text"
    language: str = ""
    priority: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: float | None = None
    updated_at: float | None = None

    @property
    def size(self) -> int:
        """Length of the canonical content in bytes."""
        return 0 if self.content is None else len(content_bytes(self.content))

    @property
    def kind(self) -> ContentKind:
        """Text, binary, structured or empty."""
        return kind_of(self.content)


@dataclass(frozen=True, slots=True)
class RecordVersion:
    """A record at one content: what a batch is a list of."""

    source: str
    key: str
    content_hash: str
    priority: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """An immutable list of record versions, and one dynamic partition."""

    id: BatchId
    source: str
    members: int
    created_at: float


def batch_id(number: int) -> BatchId:
    """The partition key of the ``number``-th batch: zero-padded, so that insertion order is key order."""
    return BatchId(f"batch-{number:06d}")


def batch_number(batch: str) -> int:
    """The number in a batch's identifier.

    >>> batch_number(batch_id(42))
    42
    """
    return int(batch.rpartition("-")[2])
