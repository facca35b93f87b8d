"""What the site says of one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dobby_dagster.domain.record_key import split_key
from dobby_dagster.domain.records import Content, kind_of, readable_text
from dobby_dagster.domain.states import State
from dobby_dagster.domain.summaries import CUT_OFF

SURE_FROM = 0.5
# A longer content is cut; the site is to be read.
LONGEST_CONTENT = 30_000
# A key with more parts than this has the rest in its last one.
_DEEPEST = 40
# Kinds of records that stand for a whole file or folder.
_PLACES = ("file", "package")


class Level(StrEnum):
    """How far a summary can be relied on, or why there is none."""

    SURE = "sure"
    FAIR = "fair"
    UNSURE = "unsure"
    UNKNOWN = "unknown"
    STALE = "stale"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record with its summary.

    Attributes:
        key: The record's.
        place: The file, or whatever else the record is in or stands for, as the names on the way to it.
        name: Inside the place; empty where the record stands for all of it.
        is_place: Whether the record is a whole file or folder of a source tree.
        derived: Whether its content was made from other records' summaries.
        kind: Function, class, section…
        language: Lower case; empty where unknown.
        line: From 1; None where unknown.
        state: Of its present content.
        why: The error of a failed record, the reason of a skipped one.
        summary: Of its present content, else of a former one; None where there is neither.
        level: Of the summary.
        confidence: Of the summary; None where unknown.
        model, prompt: That made the summary; empty where there is none.
        created_at: When the summary was made, in seconds since the epoch; None where there is none.
        notes: Reservations about the summary.
        content: Its text, cut to :data:`LONGEST_CONTENT` characters; None where it is not shown.
        left_out: How many characters of the content were cut; None where all of it is not shown.
    """

    key: str
    place: tuple[str, ...]
    name: str
    is_place: bool
    derived: bool
    kind: str
    language: str
    line: int | None
    state: str
    why: str
    summary: str | None
    level: Level
    confidence: float | None
    model: str
    prompt: str
    created_at: float | None
    notes: tuple[str, ...]
    content: str | None
    left_out: int | None

    @property
    def label(self) -> str:
        """A short name: that inside its place, else the last of the place's."""
        return self.name or self.place[-1]


def entry_of(
    row: Mapping[str, Any], former: Mapping[str, Any] | None, unsure_below: float, *, with_content: bool
) -> Entry:
    """The entry of one row of :meth:`~dobby_dagster.store.ledger.reports.Reports.rows`.

    Args:
        row: The record as it is now.
        former: Its summary of a former content, where it has none of the present one.
        unsure_below: Summaries with a lower confidence are unsure.
        with_content: Whether the site shows contents.
    """
    metadata = row["metadata"]
    place, name, is_place = location(row["key"], metadata, row["content_type"])
    told = row if row["summary"] is not None else former or row
    content, left_out = _shown(row["content"]) if with_content else (None, None)
    line = metadata.get("line")
    return Entry(
        key=row["key"],
        place=place,
        name=name,
        is_place=is_place,
        derived=metadata.get("derived") is True,
        kind=row["content_type"],
        language=row["language"],
        line=line if isinstance(line, int) and not isinstance(line, bool) else None,
        state=row["state"],
        why=row["error"] or row["reason"] or "",
        summary=told["summary"],
        level=_level(row, former, unsure_below),
        confidence=told["confidence"],
        model=told["model"] or "",
        prompt=told["prompt"] or "",
        created_at=told["created_at"],
        notes=tuple(_notes(told)),
        content=content,
        left_out=left_out,
    )


def location(key: str, metadata: Mapping[str, Any], kind: str) -> tuple[tuple[str, ...], str, bool]:
    """The place of a record, its name there, and whether it stands for a whole file or folder of a source tree.

    >>> location("src/a.py::A.b", {}, "method")
    (('src', 'a.py'), 'A.b', False)
    >>> location("src/a.md", {"path": "src/a.md"}, "file"), location("id/17", {}, "text")
    ((('src', 'a.md'), '', True), (('id', '17'), '', False))
    """
    place, name = split_key(key, metadata.get("path"))
    if place and name:
        return _segments(place), name, False
    return _segments(key), "", kind in _PLACES or key == metadata.get("path")


def _segments(place: str) -> tuple[str, ...]:
    return tuple(place.split("/", _DEEPEST))


def _level(row: Mapping[str, Any], former: Mapping[str, Any] | None, unsure_below: float) -> Level:
    if row["summary"] is None:
        return Level.FAILED if row["state"] == State.FAILED else Level.STALE if former else Level.NONE
    confidence = row["confidence"]
    if confidence is None:
        return Level.UNKNOWN
    return Level.UNSURE if confidence < unsure_below else Level.FAIR if confidence < SURE_FROM else Level.SURE


def _notes(told: Mapping[str, Any]) -> list[str]:
    notes = ["the middle of the content was left out"] if told["truncated"] else []
    return notes + (["the summary was cut off"] if told["finish_reason"] == CUT_OFF else [])


def _shown(content: Content) -> tuple[str | None, int | None]:
    text = "" if kind_of(content) == "empty" else readable_text(content)
    return (None, None) if text is None else (text[:LONGEST_CONTENT], max(0, len(text) - LONGEST_CONTENT))
