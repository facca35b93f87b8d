"""The current version of each record, and which versions wait for a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dobby_dagster.domain.errors import StoreBusyError, StoreError
from dobby_dagster.domain.records import Batch, RecordVersion, batch_id
from dobby_dagster.domain.states import PASSING_REASONS, State
from dobby_dagster.store.cozoscript.script import MOMENT, script, unpack
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import BATCH, MEMBER, META, VERSION, WAITING
from dobby_dagster.store.source.change_tracking import queue_name
from dobby_dagster.store.source.source_relation import Source

_Written = TypeVar("_Written")
# Two planners that cut at the same moment both succeed within a few attempts.
CUT_ATTEMPTS = 20
_KNOWN = "*dobby_version{source: $source, key, content_hash, priority, deleted @ 'END'}"


@dataclass(frozen=True, slots=True)
class Known:
    """A record as it was last seen."""

    content_hash: str
    deleted: bool


class RecordVersions:
    """Record versions and the batches that they are cut into."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def known(self, source: Source, keys: list[str]) -> dict[str, Known]:
        """The last seen version of each of ``keys`` that was ever seen."""
        query = f"?[key, content_hash, deleted] := key in $keys, {_KNOWN}"
        rows = self._connection.run(query, {"keys": keys, "source": source.settings.relation}).rows
        return {row[0]: Known(row[1], row[2]) for row in rows}

    def returned(self, source: Source, keys: list[str]) -> set[str]:
        """Those of ``keys`` that a run skipped as edited or deleted, and that have had no new version since.

        If the source has their known content, it was edited or deleted and changed back between two plans.
        """
        # The states come first: of most keys none remains to be looked up in the versions.
        query = f"""?[key] := key in $keys,
            *dobby_state{{source: $source, key, content_hash, recipe, at: ended, state, reason @ 'END'}},
            state == '{State.SKIPPED}', is_in(reason, {list(PASSING_REASONS)}),
            *dobby_version{{source: $source, key, content_hash, at: seen, deleted @ 'END'}}, deleted == false,
            to_int(ended) > to_int(seen)"""
        rows = self._connection.run(query, {"keys": keys, "source": source.settings.relation}).rows
        return {row[0] for row in rows}

    def live(self, relation: str) -> int:
        """How many records are known and not deleted."""
        query = f"?[count(key)] := {_KNOWN}, deleted == false"
        return int(self._connection.run(query, {"source": relation}).rows[0][0])

    def difference(self, source: Source) -> tuple[list[str], list[str]]:
        """Keys of rows that are not yet known, and of known records whose row is gone; contents are not read.

        Raises:
            SourceError: Two rows have keys of the same text.
        """
        query = f"?[key] := {_KNOWN}, deleted == false"
        known = {row[0] for row in self._connection.run(query, {"source": source.settings.relation}).rows}
        present: set[str] = set()
        for keys in source.key_pages(5_000):
            for key in keys:
                if key in present:
                    raise source.ambiguous(key)
                present.add(key)
        return sorted(present - known), sorted(known - present)

    def note(
        self,
        source: Source,
        changed: list[RecordVersion],
        deleted: list[str],
        tokens: list[tuple[str, str]] | None = None,
    ) -> None:
        """Store new versions as waiting, and note deletions, in one transaction.

        Args:
            source: Where they are.
            changed: New and changed records, as they are now.
            deleted: Keys that are gone.
            tokens: Entries of the change queue that are now done; an entry that the writer has renewed stays.
        """
        relation = source.settings.relation
        gone = [*deleted, *(v.key for v in changed)]
        parameters: dict[str, object] = {"source": relation, "gone": gone}
        blocks = [
            "{ ?[source, rank, key] := key in $gone, source = $source,"
            f" {_KNOWN}, rank = -priority, *dobby_waiting{{source, rank, key}} {WAITING.remove} }}"
        ]
        if deleted:
            blocks.append(
                f"{{ {VERSION.head} := key in $deleted, source = $source,"
                " *dobby_version{source, key, content_hash, priority, size @ 'END'},"
                f" {MOMENT}, deleted = true {VERSION.into} }}"
            )
            parameters["deleted"] = deleted
        if changed:
            blocks.append(VERSION.put("versions"))
            parameters["versions"] = [[relation, v.key, v.content_hash, v.priority, v.size, False] for v in changed]
            blocks.append(WAITING.put("waiting"))
            parameters["waiting"] = [
                [relation, -v.priority, v.key, v.content_hash, v.priority, v.size] for v in changed
            ]
        if tokens:
            queue = queue_name(source)
            rules, keys = source.wanted([key for key, _ in tokens], f"*{queue}{{k}}")
            blocks.append(
                f"{{ {rules} token_of[key, t] <- $tokens\n"
                f"?[k] := wanted[k, key], token_of[key, t], token = to_uuid(t), *{queue}{{k, token}} :rm {queue} {{k}} }}"
            )
            parameters |= keys | {"tokens": [list(entry) for entry in tokens]}
        self._connection.run(script(blocks), parameters, write=True)

    def last_change(self, relation: str) -> float | None:
        """When a new, changed or deleted record was found last, in seconds since the epoch; None if none ever was."""
        query = "?[max(moment)] := *dobby_version{source: $source, key, at}, moment = to_int(at)"
        [[moment]] = self._connection.run(query, {"source": relation}).rows
        return None if moment is None else moment / 1e6

    def waiting(self, relation: str) -> int:
        """How many versions wait to be put into a batch."""
        query = "?[count(key)] := *dobby_waiting{source: $source, key}"
        return int(self._connection.run(query, {"source": relation}).rows[0][0])

    def waiting_keys(self, relation: str) -> list[tuple[int, str]]:
        """Rank and key of each version that waits for a batch; a higher priority has a lower rank, and is before."""
        query = "?[rank, key] := *dobby_waiting{source: $source, rank, key}"
        return [(row[0], row[1]) for row in self._connection.run(query, {"source": relation}).rows]

    def cut_batch(self, relation: str, size: int, chosen: Sequence[tuple[int, str]] = ()) -> Batch | None:
        """Move up to ``size`` waiting versions, highest priority first, into a new batch; None where none wait.

        Args:
            relation: The source.
            size: Records, at most.
            chosen: Rank and key of versions; others are left. All are meant where it is empty.

        Raises:
            StoreBusyError: Other planners took every number that was tried.
        """
        only = "r in $chosen, rank = get(r, 0), key = get(r, 1)," if chosen else ""
        query = (
            f"?[rank, key, content_hash, priority, size] := {only}"
            f" *dobby_waiting{{source: $source, rank, key, content_hash, priority, size}} :limit {int(size)}"
        )
        params = {"source": relation} | ({"chosen": [list(each) for each in chosen]} if chosen else {})

        def cut(number: int) -> Batch | None:
            rows = self._connection.run(query, params).rows
            return self._write_batch(number, relation, rows, waited=True) if rows else None

        return self._numbered(cut)

    def batch_of(self, versions: list[RecordVersion]) -> Batch:
        """Put ``versions`` of one source, which are in batches already, into a new batch as well.

        Raises:
            StoreBusyError: Other planners took every number that was tried.
        """
        rows = [[-v.priority, v.key, v.content_hash, v.priority, v.size] for v in versions]
        return self._numbered(lambda number: self._write_batch(number, versions[0].source, rows, waited=False))

    def _numbered(self, write: Callable[[int], _Written]) -> _Written:
        """Call ``write`` with the next free number, and again if another planner took it first."""
        for _ in range(CUT_ATTEMPTS):
            try:
                return write(self._next_number())
            except StoreError as error:
                if "asserted" not in error.message:
                    raise
        raise StoreBusyError("other processes keep planning batches in the same database")

    def _next_number(self) -> int:
        rows = self._connection.run("?[value] := *dobby_meta{name: 'next_batch', value}").rows
        return int(rows[0][0]) if rows else 1

    def _write_batch(self, number: int, relation: str, rows: list[list[Any]], *, waited: bool) -> Batch:
        """One transaction, void where another planner has used the number or moved a version already.

        Args:
            number: The batch's number.
            relation: The source.
            rows: Rank, key, content hash, priority and size of each member.
            waited: Whether they waited for a batch, and wait no longer.
        """
        batch = Batch(batch_id(number), relation, len(rows), time.time())
        waiting = "source = $source, " + unpack(["rank", "key", "content_hash"])
        still_waiting = [
            f"{{ ?[key] := {waiting}, not *dobby_waiting{{source, rank, key, content_hash}} :assert none }}"
        ]
        wait_no_longer = [f"{{ ?[source, rank, key] := {waiting} {WAITING.remove} }}"]
        blocks = [
            "{ ?[batch] := batch = $batch, *dobby_batch{batch} :assert none }",
            *(still_waiting if waited else []),
            BATCH.put("batches"),
            MEMBER.put("members"),
            META.put("next"),
            *(wait_no_longer if waited else []),
        ]
        params = {
            "batch": batch.id,
            "source": batch.source,
            "batches": [[batch.id, batch.source, batch.members, batch.created_at]],
            "members": [[batch.id, place, batch.source, *row[1:]] for place, row in enumerate(rows)],
            "next": [["next_batch", number + 1]],
            "rows": rows,
        }
        self._connection.run(script(blocks), params, write=True)
        return batch

    def batches(self, relation: str | None = None, after: str = "", limit: int | None = None) -> list[Batch]:
        """Batches, oldest first; of one source where it is named.

        Args:
            relation: The source.
            after: Only batches after this one; the others are not read.
            limit: At most this many, counted before batches of other sources are left out.
        """
        upto = "" if limit is None else f" :limit {int(limit)}"
        rows = self._connection.run(
            f"{BATCH.head} := {BATCH.stored}, batch > $after{upto}",
            {"after": after},
        ).rows
        return [Batch(*row) for row in rows if relation in (None, row[1])]
