"""The tool ``changes_since``: records that are new, changed or deleted, and those with a new summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from pydantic import Field

from dobby_dagster.agent_server.answer import Entry, Found, Listing, fill
from dobby_dagster.agent_server.arguments import PagedArguments, Text
from dobby_dagster.agent_server.reading import Reading
from dobby_dagster.agent_server.record_entries import PAGE, described, without_record
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.pipeline.reporting.unplanned_changes import unplanned_changes
from dobby_dagster.store.ledger.record_changes import ChangeKind, Position, RecordChange

# In a position, before the moment and the key: of which part of the answer it is.
_PLANNED, _UNPLANNED = "p", "u"
_AGO = re.compile(r"(\d{1,6})\s*([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class ChangesArguments(PagedArguments):
    """Since when."""

    since: Text = Field(
        max_length=60,
        description="A time as 2026-01-31T12:00:00Z (UTC where no zone is named); 30m, 12h or 7d, that long ago; or "
        "the `until` of an earlier answer.",
    )


class ChangeEntry(Entry):
    """What happened to a record."""

    change: ChangeKind = Field(description="new, changed or deleted; summarized: only its summary is new.")
    summarized: bool = Field(description="Whether its content was summarised since then.")
    planned: bool = Field(
        description="false: written since the last plan, not summarised yet. Known only where triggers track changes."
    )

    def as_line(self) -> str:
        """See :class:`~dobby_dagster.agent_server.answer.Entry`."""
        return f"{self.change}{'' if self.planned else ', not planned yet'}: {super().as_line()}"


class Changes(Listing[ChangeEntry]):
    """What happened between two moments."""

    since: str = Field(description="The earlier moment, not included.")
    until: str = Field(description="The later one; to ask again later, give it as `since`.")

    def lines(self) -> list[str]:
        """See :class:`~dobby_dagster.agent_server.answer.Answer`."""
        return [f"changes from {self.since} to {self.until}:", *super().lines()]


def changes_since(use: Reading, given: ChangesArguments) -> Changes:
    """Records that differ from what they were, the first change first; then those that no plan has seen so, by key.

    Where not all changes since then are noted, all are by key. All pages tell of the same two moments in what was
    planned, whatever is written meanwhile; states and summaries are those of now, and so is what no plan has seen,
    which is told whenever it was written. A record that was planned and written again is there twice. Only the first
    page notes what waits for a run.

    Raises:
        SettingsError: ``given.since`` is no time, or the changes after the cursor are no longer noted.
    """
    position = given.position()
    noted = use.store.changes.noted_since()
    after: Position | None = None
    if position is None:
        since, until, part, notes = _moment(given.since), use.store.counts.now(), _PLANNED, use.behind()
    else:
        first, second, part, moment, key = position.split(":", 4)
        since, until, after, notes = int(first), int(second), (int(moment) if moment else None, key), ()
        if moment and (noted is None or int(moment) < noted):
            raise SettingsError("the changes after the cursor are no longer noted", hint="call again without a cursor")
    interval = f"{since}:{until}"
    found: Iterator[Found[ChangeEntry]] = iter(())
    if part == _PLANNED:
        planned = use.store.changes.between(use.relation, use.recipe, since, until, after)
        found, after = _entries(use, planned, f"{interval}:{_PLANNED}", planned=True), None
    unplanned = unplanned_changes(use.store, use.source, None if after is None else after[1])
    found = chain(found, _entries(use, unplanned, f"{interval}:{_UNPLANNED}", planned=False))
    if noted is not None and since < noted:
        notes += (f"the history before {_written(noted)} may be incomplete: an older record can count as new",)
    blank = Changes(entries=(), since=_written(since), until=_written(until), notes=notes)
    return fill(blank, found, given.query(), given.limit)


def _entries(
    use: Reading, found: Iterable[RecordChange], before: str, *, planned: bool
) -> Iterator[Found[ChangeEntry]]:
    left = iter(found)
    while page := list(islice(left, PAGE)):
        entries = described(use, [change.key for change in page if change.kind is not ChangeKind.DELETED])
        for change in page:
            entry = entries.get(change.key) or without_record(change.key, "record", "deleted")
            named = entry.model_dump() | {"change": change.kind, "summarized": change.summarized, "planned": planned}
            yield Found(ChangeEntry(**named), f"{before}:{change.noted_at or ''}:{change.key}")


def _moment(since: str) -> int:
    """``since`` in microseconds since the epoch."""
    ago = _AGO.fullmatch(since.strip())
    try:
        if ago:
            time = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            time = datetime.fromisoformat(since.strip())
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        return max(0, (time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1))
    except (ValueError, OverflowError):
        raise SettingsError(
            f"since = '{since}' is no time", hint="give one as 2026-01-31T12:00:00Z, 30m, 12h or 7d"
        ) from None


def _written(moment: int) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")
