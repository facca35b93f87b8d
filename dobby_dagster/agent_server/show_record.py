"""The tool ``show``: one record with its summary and its content."""

from __future__ import annotations

from itertools import islice

from pydantic import Field

from dobby_dagster.agent_server import cursor as cursors
from dobby_dagster.agent_server.answer import ANSWER_BYTES, KEY_BYTES, NOTE_BYTES, Answer, Entry, cut
from dobby_dagster.agent_server.arguments import Arguments, Key, Text
from dobby_dagster.agent_server.reading import Reading
from dobby_dagster.agent_server.record_entries import described
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.printable import printable
from dobby_dagster.domain.records import content_hash, readable_text
from dobby_dagster.pipeline.reporting.record_lookup import find_key

_SUMMARY_BYTES = 4_000


class ShowArguments(Arguments):
    """Which record."""

    key: Key = Field(description="The record's key, its beginning, or any part that only one key has.")
    cursor: Text = Field("", max_length=cursors.CURSOR_LENGTH, description="The `next` of the answer before.")


class ShownRecord(Answer):
    """A record, and its content or a part of it."""

    record: Entry
    model: str | None = Field(description="The model that wrote the summary; null where there is none.")
    content: str | None = Field(
        description="The present content, invisible characters escaped; null if it is binary or the record is deleted."
    )
    next: str | None = Field(None, description="A cursor: the content goes on. Null at its end.")

    def lines(self) -> list[str]:
        """See :class:`~dobby_dagster.agent_server.answer.Answer`."""
        more = [f'The content goes on: the same call with cursor "{self.next}"'] if self.next else []
        content = ["no text"] if self.content is None else ["content:", self.content]
        return [self.record.as_line(), *content, *more]


def show(use: Reading, given: ShowArguments) -> ShownRecord:
    """The record, with the first part of its content, or the part after the cursor.

    Raises:
        SourceError: No key is like it, several are, or the record has changed since the answer with the cursor.
    """
    key = find_key(use.store, use.source, given.key, "search finds records by what they do, outline lists them")
    if len(printable(key).encode()) > KEY_BYTES:
        raise SourceError(
            f"the key of the record is longer than {KEY_BYTES:,} bytes", hint="dobby show has no such limit"
        )
    entries = described(use, [key], _SUMMARY_BYTES)
    record = use.source.get([key]).get(key)
    if record is None or key not in entries:
        raise SourceError(f"the record '{key}' is deleted", hint="changes_since lists what was deleted")
    text = readable_text(record.content)
    identity = f"show {key} {content_hash(record.content)}"
    start = int(cursors.decode(identity, given.cursor)) if given.cursor else 0
    summaries = use.store.reports.summaries_of(use.relation, key, use.recipe)
    model = summaries[0]["model"] if summaries and entries[key].summary is not None else None
    shown = ShownRecord(record=entries[key], model=None if model is None else cut(model, NOTE_BYTES), content=None)
    if text is None:
        return shown
    content = printable(text, lines=True)
    room = (ANSWER_BYTES - shown.size) // 2 - cursors.CURSOR_LENGTH
    end = _end(content, start, room)
    more = cursors.encode(identity, str(end)) if end < len(content) else None
    return shown.model_copy(update={"content": content[start:end], "next": more})


def _end(content: str, start: int, room: int) -> int:
    """Where a part that begins at ``start`` and is at most ``room`` bytes of JSON ends: after a line, if it can."""
    size = 0
    for place, character in enumerate(islice(content, start, None), start):
        size += 2 if character in '\\"\n\t' else len(character.encode())
        if size > room:
            return content.rfind("\n", start, place) + 1 or place
    return len(content)
