"""What Dobby knows of each record: its present version, and which versions wait to be put into a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.errors import StoreBusyError, StoreError
from dobby_dagster.domain.records import Batch, RecordVersion, batch_id
from dobby_dagster.store.cozoscript.script import MOMENT, put, script, unpack
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.source.change_tracking import queue_name
from dobby_dagster.store.source.source_relation import Source

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

    def live(self, relation: str) -> int:
        """How many records are known and not deleted."""
        query = f"?[count(key)] := {_KNOWN}, deleted == false"
        return int(self._connection.run(query, {"source": relation}).rows[0][0])

    def difference(self, source: Source) -> tuple[list[str], list[str]]:
        """Keys of rows that are not known, and of known records that have no row; contents are not read.

        Raises:
            SourceError: Two rows have the same key for Dobby.
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
        """Remember new versions as waiting, and deleted records as deleted, in one transaction.

        Args:
            source: Where they are.
            changed: New and changed records, as they are now.
            deleted: Keys that are gone.
            tokens: Entries of the change queue that this settles; an entry that the writer has renewed stays.
        """
        relation = source.settings.relation
        gone = [*deleted, *(v.key for v in changed)]
        parameters: dict[str, object] = {"source": relation, "gone": gone}
        blocks = [
            "{ ?[source, rank, key] := key in $gone, source = $source,"
            f" {_KNOWN}, rank = -priority, *dobby_waiting{{source, rank, key}} :rm dobby_waiting {{source, rank, key}} }}"
        ]
        if deleted:
            blocks.append(
                "{ ?[source, key, at, content_hash, priority, size, deleted] := key in $deleted, source = $source,"
                " *dobby_version{source, key, content_hash, priority, size @ 'END'},"
                f" {MOMENT}, deleted = true"
                " :put dobby_version {source, key, at => content_hash, priority, size, deleted} }"
            )
            parameters["deleted"] = deleted
        if changed:
            blocks.append(
                put(
                    "dobby_version",
                    ["source", "key", "at"],
                    ["content_hash", "priority", "size", "deleted"],
                    "versions",
                )
            )
            parameters["versions"] = [[relation, v.key, v.content_hash, v.priority, v.size, False] for v in changed]
            blocks.append(
                put("dobby_waiting", ["source", "rank", "key"], ["content_hash", "priority", "size"], "waiting")
            )
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

    def waiting(self, relation: str) -> int:
        """How many versions wait to be put into a batch."""
        query = "?[count(key)] := *dobby_waiting{source: $source, key}"
        return int(self._connection.run(query, {"source": relation}).rows[0][0])

    def cut_batch(self, relation: str, size: int) -> Batch | None:
        """Move up to ``size`` waiting versions, highest priority first, into a new batch; None where none wait.

        Raises:
            StoreBusyError: Another planner cut a batch at the same moment, over and over.
        """
        for _ in range(20):
            number = self._next_number()
            rows = self._connection.run(
                "?[rank, key, content_hash, priority, size] :="
                " *dobby_waiting{source: $source, rank, key, content_hash, priority, size} :limit " + str(int(size)),
                {"source": relation},
            ).rows
            if not rows:
                return None
            batch = Batch(batch_id(number), relation, len(rows), time.time())
            try:
                self._write_batch(batch, number, rows)
            except StoreError as error:
                if "asserted" not in error.message:
                    raise
                continue
            return batch
        raise StoreBusyError("another process plans batches from the same database all the time")

    def batch_of(self, versions: list[RecordVersion]) -> Batch:
        """Put ``versions`` of one source, which are in batches already, into a new batch as well.

        Raises:
            StoreBusyError: Another planner cut a batch at the same moment, over and over.
        """
        relation = versions[0].source
        rows = [[-v.priority, v.key, v.content_hash, v.priority, v.size] for v in versions]
        for _ in range(20):
            number = self._next_number()
            batch = Batch(batch_id(number), relation, len(rows), time.time())
            try:
                self._write_batch(batch, number, rows, waiting=False)
            except StoreError as error:
                if "asserted" not in error.message:
                    raise
                continue
            return batch
        raise StoreBusyError("another process plans batches from the same database all the time")

    def _next_number(self) -> int:
        rows = self._connection.run("?[value] := *dobby_meta{name: 'next_batch', value}").rows
        return int(rows[0][0]) if rows else 1

    def _write_batch(self, batch: Batch, number: int, rows: list[list[Any]], waiting: bool = True) -> None:
        """One transaction, void where another planner has used the number or moved a version already.

        Args:
            batch: The batch.
            number: Its number.
            rows: Rank, key, content hash, priority and size of each member.
            waiting: Whether they waited for a batch, and wait no longer.
        """
        row = unpack(["position", "rank", "key", "content_hash", "priority", "size"])
        blocks = [
            "{ ?[batch] := batch = $batch, *dobby_batch{batch} :assert none }",
            "{ ?[batch, source, members, created_at] <- [[$batch, $source, $members, $created_at]]"
            " :put dobby_batch {batch => source, members, created_at} }",
            f"{{ ?[batch, position, source, key, content_hash, priority, size] := {row},"
            " batch = $batch, source = $source"
            " :put dobby_member {batch, position => source, key, content_hash, priority, size} }",
            "{ ?[name, value] <- [['next_batch', $next]] :put dobby_meta {name => value} }",
        ]
        if waiting:
            there = f"{row}, not *dobby_waiting{{source: $source, rank, key, content_hash}}"
            blocks.insert(2, f"{{ ?[position] := {there} :assert none }}")
            blocks.append(
                f"{{ ?[source, rank, key] := {unpack(['position', 'rank', 'key'])}, source = $source"
                " :rm dobby_waiting {source, rank, key} }"
            )
        params = {
            "batch": batch.id,
            "source": batch.source,
            "members": batch.members,
            "created_at": batch.created_at,
            "next": number + 1,
            "rows": [[i, *row] for i, row in enumerate(rows)],
        }
        self._connection.run(script(blocks), params, write=True)

    def batches(self, relation: str | None = None, after: str = "", limit: int | None = None) -> list[Batch]:
        """Batches, oldest first; of one source where it is named.

        Args:
            relation: The source.
            after: Only those past this batch; the others are not read.
            limit: So many, at most, before those of another source are left out.
        """
        upto = "" if limit is None else f" :limit {int(limit)}"
        rows = self._connection.run(
            "?[batch, source, members, created_at] := *dobby_batch{batch, source, members, created_at}, batch > $after"
            + upto,
            {"after": after},
        ).rows
        return [Batch(*row) for row in rows if relation in (None, row[1])]
