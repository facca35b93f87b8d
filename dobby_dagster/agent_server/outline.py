"""The tool ``outline``: what a folder, a file or a class consists of, with summaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from pydantic import Field

from dobby_dagster.agent_server.answer import Entry, Found, Listing, cut, fill
from dobby_dagster.agent_server.arguments import PagedArguments, Text
from dobby_dagster.agent_server.outline_tree import Place, beginning, order_at, places
from dobby_dagster.agent_server.reading import Reading
from dobby_dagster.agent_server.record_entries import PAGE, described, without_record
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.suggest import suggestion

_KEYS_AT_ONCE = 5_000


class OutlineArguments(PagedArguments):
    """Of what, and how deep."""

    path: Text = Field(
        "",
        max_length=1_000,
        description="A folder, file or class, as keys have it: src/pkg, src/a.py, src/a.py::Class.",
    )
    depth: int = Field(1, ge=1, le=10, description="Levels below it.")


class OutlineEntry(Entry):
    """A part of what was asked for."""

    depth: int = Field(description="Levels below the path, from 1.")
    records: int = Field(description="Records in it, itself included.")

    def as_line(self) -> str:
        """See :class:`~dobby_dagster.agent_server.answer.Entry`."""
        inside = f" ({counted(self.records, 'record')})" if self.records > 1 else ""
        return "  " * (self.depth - 1) + super().as_line() + inside


class Outline(Listing[OutlineEntry]):
    """The parts of a path, each before its own parts."""

    path: str = Field(description="What was asked for; empty for everything.")

    def lines(self) -> list[str]:
        """See :class:`~dobby_dagster.agent_server.answer.Answer`."""
        return [f"outline of {self.path or 'everything'}:", *super().lines()]


def outline(use: Reading, given: OutlineArguments) -> Outline:
    """The parts of ``given.path``, in the order of their keys.

    Raises:
        SourceError: There is no such path; the hint names a similar one.
    """
    use.require_summaries()
    for path in dict.fromkeys((given.path, given.path.rstrip("/"))):
        keys = _keys(use, beginning(path))
        found = places(keys, path, given.depth)
        if found or path in keys:
            break
    else:
        top = places(_keys(use), "", 2)
        hint = suggestion(path, [place.key for place in top], "outline without a path lists everything")
        raise SourceError(f"there is nothing at '{path}'", hint=hint)
    after = given.position()
    start = None if after is None else order_at(after)
    left = [place for place in found if start is None or place.order > start]
    blank = Outline(entries=(), path=cut(path, 1_000), notes=use.behind())
    return fill(blank, _entries(use, left), given.query(), given.limit)


def _keys(use: Reading, prefix: str = "") -> frozenset[str]:
    return frozenset(key for page in use.source.key_pages(_KEYS_AT_ONCE, prefix) for key in page)


def _entries(use: Reading, found: Sequence[Place]) -> Iterator[Found[OutlineEntry]]:
    left = iter(found)
    while page := list(islice(left, PAGE)):
        entries = described(use, [place.key for place in page if place.kind == "record"])
        for place in page:
            entry = entries.get(place.key) or without_record(
                place.key, place.kind, "deleted" if place.kind == "record" else None
            )
            named = entry.model_dump() | {"depth": place.depth, "records": place.records}
            yield Found(OutlineEntry(**named), place.position)
