"""The relation that records come from: what it looks like, its rows, and what changed in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from dobby_dagster.domain.errors import SourceError, StoreSizeError
from dobby_dagster.domain.records import Record
from dobby_dagster.domain.settings import OWN_RELATION, SourceSettings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.store.cozoscript.script import name
from dobby_dagster.store.cozoscript.value_text import (
    clamped_number,
    content_of,
    finite_number,
    plain,
    tag_of,
    text_of,
    text_only,
    text_or_number,
)
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.schema import relations
from dobby_dagster.store.source.row_keys import PREFIX, decode_key, key_of, wanted

Tracking: TypeAlias = Literal["queue", "watermark", "comparison"]
ORDERED_TYPES = ("String", "Int")
RESERVED = "dobby_"
PRIORITY_LIMIT = 2**62
# What is read of the columns other than the content.
_PLAIN: dict[str, Callable[[str], str]] = {
    "content_type": text_only,
    "language": text_only,
    "priority": clamped_number,
    "metadata": str,
    "created_at": finite_number,
    "updated_at": finite_number,
}
# Prefixes of the types that a column can't have, by its role.
_REFUSED_TYPES = {"key": ("Validity",), "updated_at": ("Validity", "Bytes", "Uuid", "Bool", "Json", "<", "[", "(")}


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
            SourceError: The relation or a column does not exist, or the key column is not the only key.
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
        for ours, column in self.columns.items():
            if column not in types:
                option = f"name its {ours} column by the setting source.{ours}; " if column == ours else ""
                raise SourceError(
                    f"relation '{spec.relation}' has no column '{column}'", hint=option + suggestion(column, types)
                )
        if keys != [spec.key]:
            typed = ", ".join(f"{key} ({types[key]})" for key in keys)
            raise SourceError(
                f"column '{spec.key}' is not the key of relation '{spec.relation}', whose key is: {typed}",
                hint="--key must name the one key column; a relation with a compound key has none",
            )
        for ours, refused in _REFUSED_TYPES.items():
            column = self.columns.get(ours, "")
            if types.get(column, "").removesuffix("?").startswith(refused):
                raise SourceError(
                    f"column '{column}' of relation '{spec.relation}' is of type {types[column]}, "
                    f"which can't be the {ours} of a record"
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

    def decode(self, key: str) -> Any:
        """The value of the key column that Dobby's ``key`` stands for; UUIDs and bytes as text."""
        return decode_key(key, self.key_type)

    def count(self) -> int:
        """How many rows the relation has."""
        return int(self.connection.run(f"?[count(k)] := {self.atom(key='k')}").rows[0][0])

    def distinct(self, column: str) -> set[str]:
        """The texts in a column, by Dobby's name for it; those of a record without one where the relation has none."""
        if column not in self.columns:
            return {str(getattr(Record("", None, ""), column))}
        query = f"?[plain] := {self.atom(**{column: column})}, plain = {_PLAIN[column](column)}"
        return {str(row[0]) for row in self.connection.run(query).rows}

    def get(self, keys: list[str]) -> dict[str, Record]:
        """The rows at ``keys`` that exist, by Dobby's key.

        Rows that are too long together for one answer of a server are read in parts.

        Raises:
            SourceError: Two rows have the same key for Dobby, or one row is too long for an answer.
        """
        try:
            return self._get(keys)
        except StoreSizeError as error:
            if len(keys) == 1:
                raise SourceError(
                    f"the row with the key {keys[0]!r} of relation '{self.settings.relation}' is too long: {error.message}",
                    hint="shorten or delete it",
                ) from error
            middle = len(keys) // 2
            return self.get(keys[:middle]) | self.get(keys[middle:])

    def _get(self, keys: list[str]) -> dict[str, Record]:
        names = [n for n in self.columns if n != "key"]
        texts = [n for n in names if n == "content" or n in self._carried]
        plain_names = [n for n in names if n not in texts]
        views = [f"tag_{n} = {tag_of(n)}, text_{n} = {text_of(n)}" for n in texts]
        views += [f"plain_{n} = {_PLAIN[n](n)}" for n in plain_names]
        head = ["key", *(f"plain_{n}" for n in plain_names)]
        head += [f"{part}_{n}" for n in texts for part in ("tag", "text")]
        rules, parameters = self.wanted(keys)
        atom = self.atom(key="k", **{n: n for n in names})
        query = f"{rules}?[{', '.join(head)}] := wanted[k, key], {', '.join([atom, *views])}"
        found: dict[str, Record] = {}
        for cells in self.connection.run(query, parameters).dicts():
            if cells["key"] in found:
                raise self.ambiguous(cells["key"])
            found[cells["key"]] = self._record(cells)
        return found

    def wanted(self, keys: Iterable[str], stored: str = "") -> tuple[str, dict[str, list[Any]]]:
        """Rules that define ``wanted[k, key]`` for Dobby's ``keys``, and their parameters.

        Args:
            keys: Dobby's.
            stored: The atom that binds ``k`` to the keys that are there; where empty, the relation's own.
        """
        return wanted(keys, self.key_type, stored or self.atom(key="k"))

    def ambiguous(self, key: str) -> SourceError:
        """The error of two rows whose keys have the same text."""
        return SourceError(
            f"two rows of relation '{self.settings.relation}' have the key {key!r}: "
            f"column '{self.settings.key}' of type {self.key_type} holds values that have the same text",
            hint="give the rows keys that differ as text",
        )

    def pages(self, size: int, prefix: str = "") -> Iterator[list[Record]]:
        """All rows whose key begins with ``prefix``, in key order, ``size`` at a time; the database is closed between pages."""
        for keys in self.key_pages(size, prefix):
            found = self.get(keys)
            yield [found[key] for key in keys if key in found]

    def key_pages(self, size: int, prefix: str = "") -> Iterator[list[str]]:
        """All keys that begin with ``prefix``, in key order, ``size`` at a time.

        Text and whole-number keys are read page by page. Keys of other types can't be compared by Cozo
        across a page's border: they are read at once, without their contents.
        """
        view = f"{self.atom(key='k')}, tag = {tag_of('k')}, text = {text_of('k')}"
        if not self._keys_are_ordered():
            keys = self.keys_in(self.connection.run(f"?[k, tag, text] := {view}").rows)
            keys = [key for key in keys if key.startswith(prefix)]
            for begin in range(0, len(keys), size):
                yield keys[begin : begin + size]
            return
        after: Any = None
        is_text = self.key_type != "Int" and not prefix.startswith(PREFIX)
        starts = ", starts_with(k, $prefix)" if prefix and is_text else ""
        if starts:
            # For a stored key starts_with is a range without its lower end: Cozo leaves out the prefix itself.
            exact = self.connection.run(f"?[k, tag, text] := k = $prefix, {view}", {"prefix": prefix}).rows
            if exact:
                yield self.keys_in(exact)
        while True:
            bound = "" if after is None else ", k > $after"
            query = f"?[k, tag, text] := {view}{starts}{bound} :limit {int(size)}"
            parameters = ({"prefix": prefix} if starts else {}) | ({} if after is None else {"after": after})
            rows = self.connection.run(query, parameters).rows
            keys = [key for key in self.keys_in(rows) if key.startswith(prefix)]
            if keys := [key for key in keys if key != prefix or not starts]:
                yield keys
            if len(rows) < size:
                return
            after = rows[-1][0]

    def keys_in(self, rows: list[list[Any]]) -> list[str]:
        """Dobby's keys of rows whose first columns are a key, its tag and its text."""
        return [key_of(row[1], row[2], self.key_type) for row in rows]

    def newer(self, watermark: Any, size: int) -> Iterator[tuple[list[Record], Any]]:
        """Rows whose ``updated_at`` is at or past ``watermark``, by pages, each with the watermark after it.

        Equal to the watermark counts, so that rows written in the same instant are not missed, and so does a value that
        can't be compared with it, null say. Only keys and times are sorted; contents are read page by page. An index of
        yours that begins with the column is used.
        """
        same_type = "is_string(t)" if isinstance(watermark, str) else "is_num(t)"
        bound = "" if watermark is None else f", if({same_type}, t >= $watermark, true)"
        view = f"tag = {tag_of('k')}, text = {text_of('k')}, at = {text_or_number('t')}"
        query = f"?[at, k, tag, text] := {self._times()}{bound}, {view} :order at"
        rows = self.connection.run(query, {} if watermark is None else {"watermark": watermark}).rows
        for begin in range(0, len(rows), size):
            part = rows[begin : begin + size]
            found = self.get(self.keys_in([row[1:] for row in part]))
            yield list(found.values()), part[-1][0]

    def _times(self) -> str:
        """An atom that binds keys and times, from an index on the times where one exists, else from the whole relation."""
        time_column = self.columns["updated_at"]
        place = list(self.types).index(time_column)
        for index, kind, _, config in self.connection.run(f"::indices {name(self.settings.relation)}").rows:
            if kind == "normal" and config["indices"][0] == place:
                indexed = f"{name(self.settings.relation)}:{name(index)}"
                return f"*{indexed}{{{name(self.settings.key)}: k, {name(time_column)}: t}}"
        return self.atom(key="k", updated_at="t")

    def latest_update(self) -> Any:
        """The highest value of the ``updated_at`` column; None of an empty relation."""
        view = f"{self.atom(key='_k', updated_at='t')}, at = {text_or_number('t')}"
        rows = self.connection.run(f"?[at] := {view} :order -at :limit 1").rows
        return rows[0][0] if rows else None

    def _keys_are_ordered(self) -> bool:
        if self.key_type in ORDERED_TYPES:
            return True
        if not self.key_type.startswith("Any"):
            return False
        return not self.connection.run(f"?[k] := {self.atom(key='k')}, !is_string(k) :limit 1").rows

    @cached_property
    def _carried(self) -> dict[str, str]:
        """The metadata columns: Dobby's names for them, and their own."""
        if self.settings.relation == OWN_RELATION:
            return {}
        return {f"m{i}": column for i, column in enumerate(self.settings.metadata)}

    def _record(self, cells: dict[str, Any]) -> Record:
        own = cells.get("plain_metadata")
        carried = {theirs: plain(cells[f"tag_{n}"], cells[f"text_{n}"]) for n, theirs in self._carried.items()}
        return Record(
            key=cells["key"],
            content=content_of(cells["tag_content"], cells["text_content"]),
            source=self.settings.relation,
            content_type=str(cells.get("plain_content_type") or "text"),
            language=str(cells.get("plain_language") or "").lower(),
            priority=_whole(cells.get("plain_priority")),
            metadata=own if isinstance(own, dict) else carried,
            created_at=cells.get("plain_created_at"),
            updated_at=cells.get("plain_updated_at"),
        )


def _whole(value: float | None) -> int:
    """A priority as an integer that CozoDB can store with either sign; 0 if it is not known."""
    return int(max(-PRIORITY_LIMIT, min(PRIORITY_LIMIT, value or 0)))
