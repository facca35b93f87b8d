"""What happened to the records of a source between two moments, by the history of versions and states.

Both moments are read with Cozo's time travel, so the answer stays the same while others write.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import TypeAlias

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.record_counts import RecordCounts
from dobby_dagster.store.ledger.relations import STATE, VERSION

# Keys that are compared at once: few where the first ones are enough.
FIRST_PAGE, PAGE = 100, 1_000
# Transactions whose keys are read at once; a planner's has 500.
_TRANSACTIONS = 20

Position: TypeAlias = tuple[int | None, str]
"""Where a change is in the order of all: the moment by which it is listed, None where it is by its key alone; its key."""


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
        noted_at: Its first change after the earlier moment, in microseconds since the epoch; None where not all are noted.
    """

    key: str
    kind: ChangeKind
    content_hash: str
    summarized: bool
    noted_at: int | None = None

    @property
    def position(self) -> Position:
        """Where it is in the order of all."""
        return self.noted_at, self.key


class RecordChanges:
    """Reading the history; the database is closed between two pages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counts = RecordCounts(connection)

    def noted_since(self) -> int | None:
        """The moment, in microseconds since the epoch, from which on each change is noted; None where none is.

        What was superseded earlier may have been deleted from the history.
        """
        rows = self._connection.run("?[at] := *dobby_change{at} :limit 1").rows  # in the order of the key
        return int(rows[0][0]) if rows else None

    def between(
        self, relation: str, recipe: RecipeId | None, since: int, until: int, after: Position | None = None
    ) -> Iterator[RecordChange]:
        """Records that were different at ``until`` from what they were at ``since``, each once.

        Where each change since then is noted, they are in the order of their first changes, and only they are read; else
        in the order of their keys, and all records are read. Either way a page costs what it holds.

        Args:
            relation: The source.
            recipe: Under which a record counts as summarised.
            since: In microseconds since the epoch, by the database's clock; not included.
            until: Included; not after :meth:`~dobby_dagster.store.ledger.record_counts.RecordCounts.now`.
            after: Only changes after this one.
        """
        for moments in self._candidates(relation, since, until, after):
            keys = list(moments)
            before = self.versions(relation, keys, since)
            now = self.versions(relation, keys, until)
            was_completed = self._completed(relation, recipe, keys, since)
            completed = self._completed(relation, recipe, keys, until) - was_completed
            for key in keys:
                if change := _change(key, before.get(key), now.get(key), completed):
                    yield replace(change, noted_at=moments[key])

    def _candidates(
        self, relation: str, since: int, until: int, after: Position | None
    ) -> Iterator[dict[str, int | None]]:
        """Pages of keys that may have changed, with the moments by which they are listed."""
        moment, key = (None, None) if after is None else after
        noted = self.noted_since()
        if moment is not None or (after is None and noted is not None and since >= noted):
            yield from self._noted(relation, since, until, None if moment is None or key is None else (moment, key))
            return
        sizes = _sizes()
        while keys := self._counts.keys(relation, key, next(sizes)):
            yield dict.fromkeys(keys)
            key = keys[-1]

    def _noted(
        self, relation: str, since: int, until: int, after: tuple[int, str] | None
    ) -> Iterator[dict[str, int | None]]:
        query = f"""?[at, keys] := *dobby_change{{at, source, keys}}, source == $source, at > $after, at <= $until
            :limit {_TRANSACTIONS}"""
        last = since if after is None else after[0] - 1
        sizes = _sizes()
        while rows := self._connection.run(query, {"source": relation, "after": last, "until": until}).rows:
            changes = iter(
                [(at, key) for at, keys in rows for key in sorted(keys) if after is None or (at, key) > after]
            )
            while page := list(islice(changes, next(sizes))):
                first = self._first_changes(relation, [key for _, key in page], since)
                yield {key: at for at, key in page if first.get(key) == at}
            last = rows[-1][0]

    def _first_changes(self, relation: str, keys: list[str], since: int) -> dict[str, int]:
        """When each of ``keys`` was noted as changed first after a moment."""
        rules = [
            f"""first[key, min(at)] := key in $keys, *{name}{{source: $source, key, at: validity}},
                at = to_int(validity), at > $since"""
            for name in (VERSION.name, STATE.name)
        ]
        query = "\n".join([*rules, "?[key, at] := first[key, at]"])
        rows = self._connection.run(query, {"source": relation, "keys": keys, "since": since}).rows
        return {key: int(at) for key, at in rows}

    def versions(self, relation: str, keys: list[str], moment: int) -> dict[str, tuple[str, bool]]:
        """Hash, and whether it was deleted, of each of ``keys`` that was known at a moment."""
        query = """?[key, content_hash, deleted] := key in $keys,
            *dobby_version{source: $source, key, content_hash, deleted @ $moment}"""
        rows = self._connection.run(query, {"source": relation, "keys": keys, "moment": moment}).rows
        return {key: (content_hash, deleted) for key, content_hash, deleted in rows}

    def _completed(self, relation: str, recipe: RecipeId | None, keys: list[str], moment: int) -> set[tuple[str, str]]:
        """Keys and hashes of the versions of ``keys`` that were completed at a moment."""
        query = """?[key, content_hash] := key in $keys, *dobby_state{source: $source, key, content_hash, recipe, state @ $moment},
            recipe == $recipe, state == 'completed'"""
        params = {"source": relation, "recipe": recipe or "", "keys": keys, "moment": moment}
        return {(key, content_hash) for key, content_hash in self._connection.run(query, params).rows}


def _sizes() -> Iterator[int]:
    size = FIRST_PAGE
    while True:
        yield size
        size = min(2 * size, PAGE)


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
