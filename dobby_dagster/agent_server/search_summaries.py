"""The tool ``search``: records by what they do."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from pydantic import Field

from dobby_dagster.agent_server.answer import Entry, Found, Listing, cut, fill
from dobby_dagster.agent_server.arguments import PagedArguments, Text
from dobby_dagster.agent_server.reading import Reading
from dobby_dagster.agent_server.record_entries import described
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.pipeline.reporting.record_list import RecordFilter, require_known
from dobby_dagster.search.search_records import Hit, search

# Hits of all pages together: the cursor names each that was shown.
MOST = 140
_MARK_LENGTH = 8


class SearchArguments(PagedArguments):
    """For what, and which records."""

    text: Text = Field(min_length=1, max_length=1_000, description="What the code does, or identifiers; any words.")
    prefix: Text = Field("", max_length=1_000, description="Only keys that begin so, such as src/parser.")
    kind: Text | None = Field(None, max_length=60, description="Only records of this kind: function, class, section, …")
    language: Text | None = Field(None, max_length=60, description="Only records in this language.")
    limit: int = Field(10, ge=1, le=50, description="Entries of an answer, at most.")


class HitEntry(Entry):
    """A record that was found."""

    ways: tuple[str, ...] = Field(description="How it was found: by the words of its text, by a vector of its meaning.")

    def as_line(self) -> str:
        """See :class:`~dobby_dagster.agent_server.answer.Entry`."""
        return f"{super().as_line()} (by {', '.join(self.ways)})"


class Hits(Listing[HitEntry]):
    """Records, the best first."""

    text: str = Field(description="What was searched for.")

    def lines(self) -> list[str]:
        """See :class:`~dobby_dagster.agent_server.answer.Answer`."""
        return super().lines() if self.entries else ["nothing was found"]


def search_summaries(use: Reading, given: SearchArguments) -> Hits:
    """The records that fit ``given.text`` best; on a later page those that no earlier one had.

    Raises:
        SettingsError: The text has no word to search for, or there are no more pages than were read.
    """
    use.require_summaries()
    query, position = given.query(), given.position() or ""
    shown = {position[begin : begin + _MARK_LENGTH] for begin in range(0, len(position), _MARK_LENGTH)}
    room = MOST - len(shown)
    if room <= 0:
        raise SettingsError(f"an answer ends after {MOST} hits", hint="search for more particular words, or use prefix")
    wanted = RecordFilter(given.prefix, None, given.language and given.language.lower(), given.kind)
    require_known(use.source, wanted)
    result = search(
        use.store, use.source, use.recipe, given.text, wanted, len(shown) + given.limit + 1,
        settings=use.settings.search,
    )  # fmt: skip
    new = [hit for hit in result.hits if _mark(hit) not in shown]
    blank = Hits(
        entries=(), text=cut(given.text, 1_000), notes=use.behind() + (result.problems + result.index_behind)[:2]
    )
    return fill(blank, _entries(use, new, position), query, min(given.limit, room))


def _entries(use: Reading, hits: list[Hit], position: str) -> Iterator[Found[HitEntry]]:
    entries = described(use, [hit.key for hit in hits])
    for hit in hits:
        if entry := entries.get(hit.key):
            position += _mark(hit)
            yield Found(HitEntry(**entry.model_dump(), ways=hit.ways), position)


def _mark(hit: Hit) -> str:
    """A short name of a hit, in a cursor."""
    return base64.urlsafe_b64encode(hashlib.sha256(hit.key.encode()).digest()[:6]).decode()
