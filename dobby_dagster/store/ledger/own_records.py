"""Dobby's own relation ``record``: filled by ``dobby ingest`` and other writers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.record_key import split_key
from dobby_dagster.domain.records import Record, Structured
from dobby_dagster.store.cozoscript.storable import storable_text, storable_value
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import EDGE, OUTLINE, RECORD

# Contents that are read at once.
_PAGE = 500


class Records:
    """Writing records; only what changed is touched."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_changed(self, records: Sequence[Record], origin: str) -> int:
        """Write those of ``records`` that are new or differ from what is stored; return their number.

        A lone surrogate, which CozoDB can't store, is written as its escape.

        Args:
            records: In any number; one transaction.
            origin: Where they come from; stored in the column ``source``.

        Raises:
            SourceError: A key belongs to another origin.
        """
        records, origin = [_storable(record) for record in records], storable_text(origin)
        stored = {
            row[0]: row[1:]
            for row in self._connection.run(
                "?[key, content, source, content_type, language, priority, metadata, created_at] := key in $keys,"
                " *record{key, content, source, content_type, language, priority, metadata, created_at}",
                {"keys": [record.key for record in records]},
            ).rows
        }
        rows, now = [], time.time()
        for record in records:
            before = stored.get(record.key)
            if before and before[1] not in ("", origin):
                gone = "; if that tree is gone, its records become this one's" if before[1].startswith("/") else ""
                raise SourceError(
                    f"key '{record.key}' is taken by a record of {before[1]}",
                    hint=f"give this one another --name{gone}",
                )
            metadata = dict(record.metadata)
            wanted = [record.content, origin, record.content_type, record.language, record.priority, metadata]
            if before and list(before[:6]) == wanted:
                continue
            created = before[6] if before else now
            rows.append(
                [record.key, record.content, origin, record.content_type, record.language, record.size,
                 record.priority, metadata, created, now]
            )  # fmt: skip
        if rows:
            self._connection.run(RECORD.put(), {"rows": rows}, write=True)
        return len(rows)

    def keys_of(self, origin: str) -> dict[str, str]:
        """All keys whose records came from ``origin``, with their files; records of derived contents are left out."""
        query = """?[key, path] := *record{key, source, metadata}, source == $origin,
            is_null(maybe_get(metadata, 'derived')), path = maybe_get(metadata, 'path')"""
        rows = self._connection.run(query, {"origin": origin}).rows
        return {key: split_key(key, path)[0] for key, path in rows}

    def equal_ones(self, records: Iterable[Record], origin: str) -> set[str]:
        """The keys of those ``records`` that are stored with an equal content, from ``origin``."""
        equal: set[str] = set()
        left = map(_storable, records)
        while page := list(islice(left, _PAGE)):
            query = "?[key, content] := key in $keys, *record{key, content, source}, source == $origin"
            rows = self._connection.run(query, {"keys": [each.key for each in page], "origin": origin}).rows
            stored = dict(rows)
            equal |= {each.key for each in page if each.key in stored and stored[each.key] == each.content}
        return equal

    def move(self, former: str, origin: str) -> None:
        """Make all records, outlines and edges of one tree those of another, in one transaction.

        Args:
            former: Where the tree was.
            origin: Where it is.
        """
        moved = [
            f"{{ ?[{', '.join([*each.key, column])}] := *{each.name}{{{', '.join(each.key)}, {column}: former}},"
            f" former == $former, {column} = $origin"
            f" :update {each.name} {{{', '.join(each.key)} => {column}}} }}"
            for each, column in ((RECORD, "source"), (OUTLINE, "origin"), (EDGE, "origin"))
        ]
        params = {"former": former, "origin": storable_text(origin)}
        self._connection.run("\n".join(moved), params, write=True)

    def origins(self) -> dict[str, list[str]]:
        """The trees that records came from: each one's path, and its files, as in their keys, in order."""
        query = """?[source, path] := *record{source, metadata}, source != '', is_null(maybe_get(metadata, 'derived')),
            path = maybe_get(metadata, 'path'), is_string(path)"""
        found: dict[str, list[str]] = {}
        for origin, path in sorted(self._connection.run(query).rows):
            found.setdefault(origin, []).append(path)
        return found

    def remove(self, keys: Sequence[str]) -> None:
        """Delete records; the next plan notes them as deleted."""
        for begin in range(0, len(keys), 1_000):
            page = list(keys[begin : begin + 1_000])
            self._connection.run(f"?[key] := key in $keys {RECORD.remove}", {"keys": page}, write=True)


def _storable(record: Record) -> Record:
    return replace(
        record,
        key=storable_text(record.key),
        content_type=storable_text(record.content_type),
        language=storable_text(record.language),
        content=record.content if isinstance(record.content, Structured) else storable_value(record.content),
        metadata=storable_value(record.metadata),
    )
