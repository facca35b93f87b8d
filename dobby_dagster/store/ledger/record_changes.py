"""What happened to the records of a source between two moments, by the history of versions and states.

Both moments are read with Cozo's time travel, so the answer stays the same while others write.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.record_counts import RecordCounts

PAGE = 1_000


class ChangeKind(StrEnum):
    """What happened to a record: new, other content, deleted; or only that it has a summary that it had not before."""

    NEW = "new"
    CHANGED = "changed"
    DELETED = "deleted"
    SUMMARIZED = "summarized"


@dataclass(frozen=True, slots=True)
class RecordChange:
    """What happened to one record.

    Attributes:
        key: The record's.
        kind: What happened.
        content_hash: Of its content at the later moment, or of the last one before it was deleted.
        summarized: Whether the later content was summarised between the two moments.
    """

    key: str
    kind: ChangeKind
    content_hash: str
    summarized: bool


class RecordChanges:
    """Reading the history; the database is closed between two pages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counts = RecordCounts(connection)

    def noted_since(self) -> int | None:
        """The moment, in microseconds since the epoch, from which on each change is noted; None where none is.

        What was superseded earlier may have been deleted from the history.
        """
        rows = self._connection.run("?[min(at)] := *dobby_change{at}").rows
        return None if not rows or rows[0][0] is None else int(rows[0][0])

    def between(
        self, relation: str, recipe: RecipeId | None, since: int, until: int, after: str | None = None
    ) -> Iterator[RecordChange]:
        """Records that were different at ``until`` from what they were at ``since``, in the order of their keys.

        Args:
            relation: The source.
            recipe: Under which a record counts as summarised.
            since: In microseconds since the epoch, by the database's clock; not included.
            until: Included; not after :meth:`~dobby_dagster.store.ledger.record_counts.RecordCounts.now`.
            after: Only keys after this one.
        """
        for keys in self._candidates(relation, since, until, after):
            before = self.versions(relation, keys, since)
            now = self.versions(relation, keys, until)
            was_completed = self._completed(relation, recipe, keys, since)
            completed = self._completed(relation, recipe, keys, until) - was_completed
            for key in keys:
                if change := _change(key, before.get(key), now.get(key), completed):
                    yield change

    def _candidates(self, relation: str, since: int, until: int, after: str | None) -> Iterator[list[str]]:
        """Pages of keys that may have changed: those that were noted, or all where not every change since then was."""
        noted = self.noted_since()
        if noted is None or since < noted:
            while keys := self._counts.keys(relation, after, PAGE):
                yield keys
                after = keys[-1]
            return
        query = """?[key] := *dobby_change{at, source: $source, keys}, at > $since, at <= $until, key in keys"""
        rows = self._connection.run(query, {"source": relation, "since": since, "until": until}).rows
        changed = iter(sorted(row[0] for row in rows if after is None or row[0] > after))
        while keys := list(islice(changed, PAGE)):
            yield keys

    def versions(self, relation: str, keys: list[str], moment: int) -> dict[str, tuple[str, bool]]:
        """Hash, and whether it was deleted, of each of ``keys`` that was known at a moment."""
        query = """?[key, content_hash, deleted] := key in $keys,
            *dobby_version{source: $source, key, content_hash, deleted @ $moment}"""
        rows = self._connection.run(query, {"source": relation, "keys": keys, "moment": moment}).rows
        return {key: (content_hash, deleted) for key, content_hash, deleted in rows}

    def _completed(self, relation: str, recipe: RecipeId | None, keys: list[str], moment: int) -> set[tuple[str, str]]:
        """Keys and hashes of the versions of ``keys`` that were completed at a moment."""
        query = """?[key, content_hash] := key in $keys,
            *dobby_state{source: $source, key, content_hash, recipe: $recipe, state @ $moment}, state == 'completed'"""
        params = {"source": relation, "recipe": recipe or "", "keys": keys, "moment": moment}
        return {(key, content_hash) for key, content_hash in self._connection.run(query, params).rows}


def _change(
    key: str, before: tuple[str, bool] | None, now: tuple[str, bool] | None, completed: set[tuple[str, str]]
) -> RecordChange | None:
    was_there = before is not None and not before[1]
    if now is None:
        return None
    content_hash, deleted = now
    if deleted:
        return RecordChange(key, ChangeKind.DELETED, content_hash, False) if was_there else None
    summarized = (key, content_hash) in completed
    if before is None or not was_there:
        return RecordChange(key, ChangeKind.NEW, content_hash, summarized)
    if before[0] != content_hash:
        return RecordChange(key, ChangeKind.CHANGED, content_hash, summarized)
    return RecordChange(key, ChangeKind.SUMMARIZED, content_hash, True) if summarized else None
