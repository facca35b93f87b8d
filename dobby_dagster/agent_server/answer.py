"""What a tool answers: typed fields and the same as text, together never longer than ``ANSWER_BYTES``.

Everything in it may be untrusted. Invisible characters are escaped, as for people: text that an agent reads and a
person does not see could give it instructions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from dobby_dagster.agent_server import cursor as cursors
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable

# Of one whole message on the wire: fields and text each have about half of it.
ANSWER_BYTES = 32_000
# The longest key in a list; one that is longer is counted instead.
KEY_BYTES = 1_000
SUMMARY_BYTES = 1_200
NOTE_BYTES = 300
# The envelope of a message, and the marks around what is put in.
_ENVELOPE_BYTES = 500


def cut(text: str, size: int) -> str:
    """``text`` as at most ``size`` bytes of UTF-8 in which every character is visible; that it was cut is seen.

    >>> cut("a long line", 8), cut("short", 8)
    ('a lon…', 'short')
    """
    shown = printable(text)
    encoded = shown.encode()
    return shown if len(encoded) <= size else encoded[: size - len("…".encode())].decode(errors="ignore") + "…"


class Entry(BaseModel):
    """A record in a list."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(description="The record's key, as other tools take it.")
    kind: str = Field(description="function, class, section, file, …; 'folder' or 'file' for a place without a record.")
    language: str = Field(description="Programming language; empty where it is not known.")
    line: int | None = Field(description="First line in its file; null where it is not known.")
    state: str | None = Field(
        description="pending, in_progress, completed, failed, skipped or deleted; null for a place without a record."
    )
    reason: str = Field(description="Why it failed or was skipped.")
    summary: str | None = Field(description="One or a few sentences, by a language model; null where there is none.")
    confidence: float | None = Field(description="How sure the model was, from 0 to 1; null where that is unknown.")
    current: bool = Field(description="Whether the summary is of the record's present content.")

    def as_line(self) -> str:
        """The entry as one line of text."""
        about = ", ".join([self.kind, *([self.language] if self.language else [])])
        place = f", line {self.line}" if self.line is not None else ""
        return f"{self.key} ({about}{place}): {self.said()}"

    def said(self) -> str:
        """The summary with how far it can be trusted, or why there is none."""
        if self.summary is None:
            if self.state is None:
                return "no summary"
            return f"no summary, {self.state}" + (f": {self.reason}" if self.reason else "")
        outdated = "" if self.current else "outdated, the content has changed since; "
        return f"{self.summary} [{outdated}confidence {shown_confidence(self.confidence)}]"


class Answer(BaseModel):
    """What every tool answers."""

    model_config = ConfigDict(frozen=True)

    notes: tuple[str, ...] = Field((), description="What else to know, such as that summaries are behind.")

    def as_text(self) -> str:
        """The answer as text."""
        return "\n".join([*self.lines(), *(f"Note: {note}" for note in self.notes)])

    def lines(self) -> list[str]:
        """The answer as text, without its notes."""
        return []

    def with_notes(self, change: Callable[[str], str]) -> Answer:
        """The answer with its notes changed, and as short as they have to be."""
        return self.model_copy(update={"notes": tuple(cut(change(note), NOTE_BYTES) for note in self.notes)})

    @property
    def size(self) -> int:
        """Bytes of the message, at most."""
        return len(self.model_dump_json().encode()) + _json_bytes(self.as_text()) + _ENVELOPE_BYTES


EntryT = TypeVar("EntryT", bound=Entry)


class Listing(Answer, Generic[EntryT]):
    """One page of entries."""

    entries: tuple[EntryT, ...] = Field(description="Records and places, in order.")
    next: str | None = Field(None, description="A cursor: there is more. Null on the last page.")

    def lines(self) -> list[str]:
        """See :class:`Answer`."""
        more = [f'There is more: the same call with cursor "{self.next}"'] if self.next else []
        return [*(entry.as_line() for entry in self.entries), *more]


ListingT = TypeVar("ListingT", bound="Listing[Any]")


@dataclass(frozen=True)
class Found(Generic[EntryT]):
    """An entry that may go into an answer.

    Attributes:
        entry: What is shown.
        position: Where a next page begins after it.
    """

    entry: EntryT
    position: str


def fill(listing: ListingT, found: Iterable[Found[Any]], query: str, limit: int) -> ListingT:
    """``listing`` with as many entries as ``limit`` and ``ANSWER_BYTES`` allow, and the cursor of the rest.

    Args:
        listing: Without entries.
        found: Read only as far as they are needed. At least one fits, whatever it is.
        query: What the cursor belongs to.
        limit: Of the entries.
    """
    room = ANSWER_BYTES - listing.size - 2 * cursors.CURSOR_LENGTH - 12 * NOTE_BYTES
    entries: list[Any] = []
    left_out, last, cursor = 0, "", None
    for each in found:
        if len(each.entry.key.encode()) > KEY_BYTES:
            left_out += 1
            continue
        needed = len(each.entry.model_dump_json().encode()) + _json_bytes(each.entry.as_line()) + 2
        if len(entries) == limit or needed > room:
            cursor = cursors.encode(query, last)
            break
        room -= needed
        entries.append(each.entry)
        last = each.position
    notes = listing.notes
    if left_out:
        notes += (f"left out: {counted(left_out, 'record')} with a key longer than {KEY_BYTES:,} bytes",)
    return listing.model_copy(update={"entries": tuple(entries), "next": cursor, "notes": notes})


def _json_bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())
