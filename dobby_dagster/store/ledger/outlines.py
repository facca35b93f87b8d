"""Files and folders of ingested trees, and the records whose contents are derived from their parts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from dobby_dagster.domain.outlines import Outline, OutlineKind
from dobby_dagster.domain.records import Record
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.states import OUTCOMES
from dobby_dagster.store.cozoscript.script import script, unpack
from dobby_dagster.store.cozoscript.storable import storable_text
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import OUTLINE, RECORD

PAGE = 1_000
_COLUMNS = "key, parent, kind, language, documentation, digest"
# What a commit may change: outlines that nothing has made due again, over records that are as they were read.
_FREE = f"""{{ asked[key, due, before] := {unpack(["key", "due", "before"])}
    there[key] := asked[key, _, _], *record{{key}}
    ?[key] := asked[key, due, before], is_null(before), not there[key], *dobby_outline{{key, due: now}}, now == due
    ?[key] := asked[key, due, before], *record{{key, updated_at}}, updated_at == before,
        *dobby_outline{{key, due: now}}, now == due
    :create _free {{key}} }}"""
_SETTLE = f"""{{ ?[{", ".join(OUTLINE.columns)}] := *_free{{key}}, *dobby_outline{{key, origin, parent, kind, language,
    documentation, digest}}, recipe = $recipe, due = '' {OUTLINE.into} }}"""
_PUT = RECORD.put("records", "*_free{key}")
_MAKE_DUE = f"""{{ {OUTLINE.head} := key in $keys, *dobby_outline{{key, origin, parent, kind, language, documentation,
    digest, recipe}}, due = $token {OUTLINE.into} }}"""


@dataclass(frozen=True, slots=True)
class StoredOutline:
    """An outline as it is stored.

    Attributes:
        outline: The file or folder.
        origin: The tree that it is in.
        recipe: Under which its content was derived last; empty if it never was.
        due: Not empty if something that it contains has changed since.
    """

    outline: Outline
    origin: str
    recipe: str
    due: str

    def is_due(self, recipe: RecipeId) -> bool:
        """Whether its content may differ from what is stored."""
        return self.outline.is_derived and (self.due != "" or self.recipe != recipe)


@dataclass(frozen=True, slots=True)
class Derivation:
    """A content that was derived from parts that all have their outcome.

    Attributes:
        stored: The outline, as it was read before its parts.
        record: With the derived content; None if the stored record has it already.
        before: ``updated_at`` of the stored record; None if there was none.
    """

    stored: StoredOutline
    record: Record | None
    before: float | None


class Outlines:
    """What contains the records of ingested trees."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def replace(self, origin: str, outlines: Sequence[Outline]) -> None:
        """Store what the tree at ``origin`` consists of; what is new or changed, and what is above it, becomes due.

        A place that another tree has already stays that tree's.

        Args:
            origin: The tree.
            outlines: All files and folders of the tree that contain records.
        """
        wanted = {each.key: each for each in map(_storable, outlines)}
        before = {each.outline.key: each.outline for each in self._read("origin == $origin", {"origin": origin})}
        taken = {key for key in self.get(list(wanted)) if key not in before}
        wanted = {key: each for key, each in wanted.items() if key not in taken}
        gone = [key for key in before if key not in wanted]
        changed = {key for key, each in wanted.items() if before.get(key) != each}
        parents = [before[key].parent for key in gone] + [wanted[key].parent for key in changed]
        changed |= {key for parent in parents for key in _chain(parent, wanted)}
        token = uuid.uuid4().hex
        rows = [_row(wanted[key], origin, "", token) for key in sorted(changed, key=lambda key: (key.count("/"), key))]
        for begin in range(0, len(rows), PAGE):
            self._connection.run(OUTLINE.put(), {"rows": rows[begin : begin + PAGE]}, write=True)
        for begin in range(0, len(gone), PAGE):
            keys = {"keys": gone[begin : begin + PAGE]}
            self._connection.run(f"?[key] := key in $keys {OUTLINE.remove}", keys, write=True)

    def of(self, origin: str) -> list[Outline]:
        """The files and folders of one tree."""
        return [each.outline for each in self._read("origin == $origin", {"origin": origin})]

    def orphans(self, origin: str) -> list[str]:
        """Derived records of a tree whose file or folder is no longer there."""
        query = """?[key] := *record{key, source, metadata}, source == $origin, maybe_get(metadata, 'derived') == true,
            not *dobby_outline{key}"""
        return sorted(row[0] for row in self._connection.run(query, {"origin": origin}).rows)

    def is_empty(self) -> bool:
        """Whether no tree was ingested."""
        return not self._connection.run("?[key] := *dobby_outline{key} :limit 1").rows

    def due(self, recipe: RecipeId, after: str = "", limit: int = 2**31) -> list[str]:
        """Keys of files and packages whose content is to be derived, in their order.

        Args:
            recipe: Under which.
            after: Only later ones.
            limit: At most this many.
        """
        query = f"""?[key] := *dobby_outline{{key, kind, recipe, due}}, key > $after, kind != '{OutlineKind.TEXT}',
            due != '' || recipe != $recipe :limit {int(limit)}"""
        return sorted(row[0] for row in self._connection.run(query, {"recipe": recipe, "after": after}).rows)

    def get(self, keys: Sequence[str]) -> dict[str, StoredOutline]:
        """Those of ``keys`` that are files or folders of a tree."""
        found: dict[str, StoredOutline] = {}
        for begin in range(0, len(keys), PAGE):
            page = {"keys": list(keys[begin : begin + PAGE])}
            found |= {each.outline.key: each for each in self._read("key in $keys", page)}
        return found

    def children(self, key: str) -> list[StoredOutline]:
        """The files and folders directly in a folder, in the order of their keys."""
        query = (
            f"""?[{", ".join(OUTLINE.columns)}] := *dobby_outline:by_parent{{parent: $key, key}}, {OUTLINE.stored}"""
        )
        return sorted(self._stored(query, {"key": key}), key=lambda each: each.outline.key)

    def has_open_part(self, file: str, recipe: RecipeId) -> bool:
        """Whether a part of a file has no outcome yet under ``recipe``, as far as is planned; reads no content."""
        query = f"""part[key, content_hash] := *record{{key}}, starts_with(key, $prefix),
            *dobby_version{{source: '{RECORD.name}', key, content_hash @ 'END'}}
        done[key] := part[key, content_hash], *dobby_state{{source: '{RECORD.name}', key, content_hash, recipe: $recipe,
            state @ 'END'}}, is_in(state, {[state.value for state in OUTCOMES]})
        ?[key] := part[key, _], not done[key] :limit 1"""
        return bool(self._connection.run(query, {"prefix": f"{file}::", "recipe": recipe}).rows)

    def containing(self, keys: Sequence[str]) -> set[str]:
        """What directly contains the records at ``keys``: the file of a function, the folder of a file."""
        query = """of[key, path] := key in $keys, *record{key, metadata}, path = maybe_get(metadata, 'path')
        ?[place] := of[key, place], key != place, *dobby_outline{key: place}
        ?[place] := of[key, path], key == path, *dobby_outline{key, parent: place}, place != ''"""
        found: set[str] = set()
        for begin in range(0, len(keys), PAGE):
            rows = self._connection.run(query, {"keys": list(keys[begin : begin + PAGE])}).rows
            found.update(row[0] for row in rows)
        return found

    def commit(self, recipe: RecipeId, derived: Sequence[Derivation]) -> None:
        """Store contents, in one transaction: their outlines are no longer due, and what is above the changed ones is.

        An outline that became due again since it was read, or whose record was changed, is left as it is.

        Args:
            recipe: Under which the parts were summarised.
            derived: Outlines of which none contains another.
        """
        now = time.time()
        rows = [[each.stored.outline.key, each.stored.due, each.before] for each in derived]
        changed = [each for each in derived if each.record is not None]
        records = [_record_row(each.record, each.stored.origin, each.before, now) for each in changed if each.record]
        above = {key for each in changed for key in self._above(each.stored.outline)}
        blocks = [_FREE, *([_PUT, _MAKE_DUE] if records else []), _SETTLE]
        params: dict[str, Any] = {"rows": rows, "recipe": recipe}
        params |= {"records": records, "keys": sorted(above), "token": uuid.uuid4().hex} if records else {}
        self._connection.run(script(blocks), params, write=True)

    def make_due(self, keys: Iterable[str]) -> None:
        """Have the contents of ``keys`` derived again."""
        wanted = list(keys)
        for begin in range(0, len(wanted), PAGE):
            params = {"keys": wanted[begin : begin + PAGE], "token": uuid.uuid4().hex}
            self._connection.run(_MAKE_DUE, params, write=True)

    def _above(self, outline: Outline) -> Iterator[str]:
        parent = outline.parent
        while parent:
            yield parent
            found = self.get([parent]).get(parent)
            parent = found.outline.parent if found else ""

    def _read(self, condition: str, params: dict[str, Any]) -> list[StoredOutline]:
        query = f"?[{', '.join(OUTLINE.columns)}] := {OUTLINE.stored}, {condition}"
        if condition == "key in $keys":
            query = f"?[{', '.join(OUTLINE.columns)}] := {condition}, {OUTLINE.stored}"
        return self._stored(query, params)

    def _stored(self, query: str, params: dict[str, Any]) -> list[StoredOutline]:
        return [
            StoredOutline(
                Outline(row["key"], row["parent"], OutlineKind(row["kind"]), row["language"], row["documentation"], row["digest"]),
                row["origin"], row["recipe"], row["due"],
            )
            for row in self._connection.run(query, params).dicts()
        ]  # fmt: skip


def _storable(outline: Outline) -> Outline:
    key, parent, kind, language, documentation, digest = astuple(outline)
    return Outline(
        storable_text(key), storable_text(parent), kind, storable_text(language), storable_text(documentation), digest
    )


def _chain(key: str, outlines: dict[str, Outline]) -> Iterator[str]:
    while key in outlines:
        yield key
        key = outlines[key].parent


def _row(outline: Outline, origin: str, recipe: str, due: str) -> list[Any]:
    key, parent, kind, language, documentation, digest = astuple(outline)
    return [key, origin, parent, str(kind), language, documentation, digest, recipe, due]


def _record_row(record: Record, origin: str, before: float | None, now: float) -> list[Any]:
    return [
        record.key, record.content, origin, record.content_type, record.language, record.size, record.priority,
        dict(record.metadata), now if before is None else record.created_at or now, now,
    ]  # fmt: skip
