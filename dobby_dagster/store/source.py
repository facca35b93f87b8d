"""The relation that records come from: what it looks like, its rows, and what changed in it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Record
from dobby_dagster.domain.settings import OWN_RELATION, SourceSettings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.store.connection import Connection
from dobby_dagster.store.keys import decode_key, encode_key
from dobby_dagster.store.schema import relations
from dobby_dagster.store.script import name

Tracking: TypeAlias = Literal["queue", "watermark", "comparison"]
ORDERED_TYPES = ("String", "Int")
RESERVED = "dobby_"


@dataclass(frozen=True)
class Source:
    """A source relation, its names checked against the database.

    Args:
        connection: To the database.
        settings: Which relation, and which column is what.
    """

    connection: Connection
    settings: SourceSettings

    @cached_property
    def types(self) -> dict[str, str]:
        """Column types by name.

        Raises:
            SourceError: The relation or a column is not there, or the key column is not the only key.
        """
        spec = self.settings
        known = {n for n in relations(self.connection) if not n.startswith(RESERVED) and ":" not in n}
        if spec.relation not in known:
            raise SourceError(
                f"{self.connection.url} has no relation '{spec.relation}'", hint=suggestion(spec.relation, known)
            )
        rows = self.connection.run(f"::columns {name(spec.relation)}").rows
        types: dict[str, str] = {row[0]: row[3] for row in rows}
        keys = [row[0] for row in rows if row[1]]
        for column in self.columns.values():
            if column not in types:
                raise SourceError(
                    f"relation '{spec.relation}' has no column '{column}'", hint=suggestion(column, types)
                )
        if keys != [spec.key]:
            raise SourceError(
                f"column '{spec.key}' is not the key of relation '{spec.relation}', whose key is: {', '.join(keys)}",
                hint="--key must name the one key column",
            )
        return types

    @property
    def columns(self) -> dict[str, str]:
        """Dobby's names to the relation's columns."""
        spec = self.settings
        named = {"key": spec.key, "content": spec.content}
        if spec.relation == OWN_RELATION:
            own = ("language", "priority", "content_type", "metadata", "created_at", "updated_at")
            return named | {column: column for column in own}
        optional = {"language": spec.language, "priority": spec.priority, "updated_at": spec.updated_at}
        named |= {ours: theirs for ours, theirs in optional.items() if theirs}
        return named | {f"m{i}": column for i, column in enumerate(spec.metadata)}

    @property
    def key_type(self) -> str:
        """The key column's type, as Cozo writes it."""
        return self.types[self.settings.key]

    def atom(self, **terms: str) -> str:
        """``*relation{column: term, …}`` for Dobby's names."""
        bound = ", ".join(f"{name(self.columns[ours])}: {term}" for ours, term in terms.items())
        return f"*{name(self.settings.relation)}{{{bound}}}"

    def key_term(self, term: str) -> str:
        """``term``, a key as a parameter holds it, converted to the column's type."""
        return f"to_uuid({term})" if self.key_type == "Uuid" else term

    def content_param(self, content: Any) -> Any:
        """``content`` as a parameter that survives JSON; :meth:`unchanged` converts it back."""
        return base64.b64encode(content).decode() if isinstance(content, bytes) else content

    def unchanged(self, stored: str, remembered: str, kind: str) -> str:
        """A condition: column value ``stored`` is still the content ``remembered`` of :meth:`content_param`."""
        return (
            f"if({kind} == 'binary', {stored} == decode_base64({remembered}),"
            f" if({kind} == 'structured', json({stored}) == json({remembered}), {stored} == {remembered}))"
        )

    def encode(self, value: Any) -> str:
        """A key as Dobby's text."""
        return encode_key(value, self.key_type)

    def decode(self, key: str) -> Any:
        """Dobby's text as the relation's key."""
        return decode_key(key, self.key_type)

    def count(self) -> int:
        """How many rows the relation has."""
        return int(self.connection.run(f"?[count(k)] := {self.atom(key='k')}").rows[0][0])

    def get(self, keys: list[str]) -> dict[str, Record]:
        """The rows at ``keys`` that exist, by Dobby's key."""
        names = list(self.columns)
        atom = self.atom(**{n: ("k" if n == "key" else n) for n in names})
        head = ", ".join("k" if n == "key" else n for n in names)
        query = f"?[{head}] := r in $keys, k = {self.key_term('r')}, {atom}"
        rows = self.connection.run(query, {"keys": [self.decode(key) for key in keys]}).rows
        records = (self._record(names, row) for row in rows)
        return {record.key: record for record in records}

    def pages(self, size: int) -> Iterator[list[Record]]:
        """All rows in key order, ``size`` at a time; the database is let go between pages."""
        for keys in self.key_pages(size):
            found = self.get(keys)
            yield [found[key] for key in keys if key in found]

    def key_pages(self, size: int) -> Iterator[list[str]]:
        """All keys in key order, ``size`` at a time.

        Text and whole-number keys are read page by page. Keys of other types can't be compared by Cozo
        across a page's border: they are read at once, without their contents.
        """
        if not self._keys_are_ordered():
            rows = self.connection.run(f"?[k] := {self.atom(key='k')}").rows
            for begin in range(0, len(rows), size):
                yield [self.encode(row[0]) for row in rows[begin : begin + size]]
            return
        after: Any = None
        while True:
            bound = "" if after is None else ", k > $after"
            query = f"?[k] := {self.atom(key='k')}{bound} :limit {int(size)}"
            rows = self.connection.run(query, {} if after is None else {"after": after}).rows
            if rows:
                yield [self.encode(row[0]) for row in rows]
            if len(rows) < size:
                return
            after = rows[-1][0]

    def newer(self, watermark: Any, size: int) -> Iterator[tuple[list[Record], Any]]:
        """Rows whose ``updated_at`` is at or past ``watermark``, by pages, each with the watermark after it.

        Equal to the watermark counts, so that rows written in the same instant are not missed. Only keys and
        times are sorted; contents are read page by page. An index of yours that begins with the column is used.
        """
        bound = "" if watermark is None else ", t >= $watermark"
        query = f"?[t, k] := {self._times()}{bound} :order t"
        rows = self.connection.run(query, {} if watermark is None else {"watermark": watermark}).rows
        for begin in range(0, len(rows), size):
            part = rows[begin : begin + size]
            found = self.get([self.encode(row[1]) for row in part])
            yield list(found.values()), part[-1][0]

    def _times(self) -> str:
        """Times and keys, from an index in the order of the times where there is one, else from the whole relation."""
        time_column = self.columns["updated_at"]
        place = list(self.types).index(time_column)
        for index, kind, _, config in self.connection.run(f"::indices {name(self.settings.relation)}").rows:
            if kind == "normal" and config["indices"][0] == place:
                indexed = f"{name(self.settings.relation)}:{name(index)}"
                return f"*{indexed}{{{name(self.settings.key)}: k, {name(time_column)}: t}}"
        return self.atom(key="k", updated_at="t")

    def latest_update(self) -> Any:
        """The highest value of the ``updated_at`` column; None of an empty relation."""
        rows = self.connection.run(f"?[t] := {self.atom(key='_k', updated_at='t')} :order -t :limit 1").rows
        return rows[0][0] if rows else None

    def _keys_are_ordered(self) -> bool:
        if self.key_type in ORDERED_TYPES:
            return True
        if not self.key_type.startswith("Any"):
            return False
        return not self.connection.run(f"?[k] := {self.atom(key='k')}, !is_string(k) :limit 1").rows

    def _record(self, names: list[str], row: list[Any]) -> Record:
        cells = dict(zip(names, row, strict=True))
        spec = self.settings
        content = cells["content"]
        if self.types[spec.content].startswith("Bytes") and isinstance(content, str):
            content = base64.b64decode(content)  # the server sends bytes so
        own = cells.get("metadata")
        metadata = own if isinstance(own, dict) else {c: cells[f"m{i}"] for i, c in enumerate(spec.metadata)}
        priority = cells.get("priority")
        return Record(
            key=self.encode(cells["key"]),
            content=content,
            source=spec.relation,
            content_type=str(cells.get("content_type") or "text"),
            language=str(cells.get("language") or "").lower(),
            priority=int(priority) if isinstance(priority, int | float) else 0,
            metadata=metadata,
            created_at=_seconds(cells.get("created_at")),
            updated_at=_seconds(cells.get("updated_at")),
        )


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
