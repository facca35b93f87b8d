"""Derive the contents of files and packages from the summaries of what they contain, from the deepest up.

An outline is derived when all of its parts have their outcome under a recipe. Its record is written only if the content
differs: a summary below that says the same as before ends the work above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dobby_dagster.domain.outlines import OutlineKind
from dobby_dagster.domain.records import Record, content_hash
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.domain.states import OUTCOMES, PASSING_REASONS
from dobby_dagster.pipeline.outlines.outline_text import Part, outline
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.outlines import Derivation, StoredOutline
from dobby_dagster.store.source.source_relation import Source

PAGE = 50


@dataclass
class Derived:
    """What became of the outlines that were looked at.

    Attributes:
        written: Keys of the records that were given another content.
        unchanged: How many have the content that they had.
        waiting: How many have a part without an outcome, and are derived later.
        last: The last key that was looked at, in the order of the keys; empty if none was.
    """

    written: list[str] = field(default_factory=list)
    unchanged: int = 0
    waiting: int = 0
    last: str = ""


def derive_above(store: CozoStore, source: Source, recipe: RecipeId, keys: Sequence[str], room: int) -> Derived:
    """Derive what contains the records at ``keys``, whose outcomes may be new.

    Args:
        store: Where outlines and summaries are.
        source: The records.
        recipe: Whose summaries are in the outlines.
        keys: Of records.
        room: Characters of an outline, at most.
    """
    if source.settings.relation != OWN_RELATION:
        return Derived()
    above = store.outlines.get(sorted(store.outlines.containing(keys)))
    store.outlines.make_due(key for key, each in above.items() if not each.is_due(recipe))
    return _Derivation(store, source, recipe, room).derive(above)


def derive_due(
    store: CozoStore, source: Source, recipe: RecipeId, room: int, after: str = "", limit: int | None = None
) -> Derived:
    """Derive what has changed since it was derived last, or was derived under another recipe.

    Args:
        store: Where outlines and summaries are.
        source: The records.
        recipe: Whose summaries are in the outlines.
        room: Characters of an outline, at most.
        after: Look only at later keys.
        limit: Look at no more than this many, and what is above them.
    """
    if source.settings.relation != OWN_RELATION:
        return Derived()
    keys = store.outlines.due(recipe, after, *([limit] if limit is not None else []))
    derived = _Derivation(store, source, recipe, room).derive(keys)
    derived.last = max(keys, default="")
    return derived


@dataclass(frozen=True)
class _Derivation:
    store: CozoStore
    source: Source
    recipe: RecipeId
    room: int

    def derive(self, keys: Iterable[str]) -> Derived:
        """Derive outlines, one depth after the other, and those above them that are due for it."""
        derived = Derived()
        by_depth: dict[int, set[str]] = {}
        for key in keys:
            by_depth.setdefault(key.count("/"), set()).add(key)
        while by_depth:
            level = sorted(by_depth.pop(max(by_depth)))
            for begin in range(0, len(level), PAGE):
                for parent in self._page(level[begin : begin + PAGE], derived):
                    by_depth.setdefault(parent.count("/"), set()).add(parent)
        return derived

    def _page(self, keys: Sequence[str], derived: Derived) -> Iterator[str]:
        """Derive outlines of one depth; the parents of those that have their outcome already."""
        with self.store.connection.session():  # opened once for all reads
            found = [each for each in self.store.outlines.get(keys).values() if each.is_due(self.recipe)]
            records = self.source.get([each.outline.key for each in found])
            parts_of = {each.outline.key: self._parts(each) for each in found}
        made: list[Derivation] = []
        hashes: list[tuple[str, str]] = []
        for stored in found:
            key, before = stored.outline.key, records.get(stored.outline.key)
            parts = parts_of[key]
            if parts is None or (before is not None and not before.metadata.get("derived")):
                derived.waiting += 1
                continue
            package = stored.outline.name.rstrip("/") if stored.outline.kind is OutlineKind.PACKAGE else ""
            record = _record(stored, outline(stored.outline.documentation, parts, self.room, package))
            same = before is not None and _told(before) == _told(record)
            made.append(Derivation(stored, None if same else record, before.updated_at if before else None))
            hashes.append((key, content_hash(record.content)))
            derived.unchanged += same
            derived.written += [] if same else [key]
        if not made:
            return
        self.store.outlines.commit(self.recipe, made)
        parents = {each.stored.outline.key: each.stored.outline.parent for each in made}
        for entry in self.store.reports.describe(OWN_RELATION, self.recipe, hashes):
            if _has_outcome(entry) and parents[entry["key"]]:
                yield parents[entry["key"]]

    def _parts(self, stored: StoredOutline) -> list[Part] | None:
        """The parts of a file or package with their summaries; None if one has no outcome yet, or there are none."""
        if stored.outline.kind is OutlineKind.PACKAGE:
            return self._of_package(self.store.outlines.children(stored.outline.key)) or None
        return self._of_file(stored.outline.key) or None

    def _of_file(self, place: str) -> list[Part] | None:
        if self.store.outlines.has_open_part(place, self.recipe):
            return None
        found: list[tuple[int, str, Part]] = []
        for row in self.store.reports.rows(self.source, self.recipe, prefix=f"{place}::"):
            about = row["metadata"]
            if about.get("path") != place:
                continue  # of another file, whose name begins with this one's
            if not _has_outcome(row):
                return None
            content = row["content"] if isinstance(row["content"], str) else ""
            part = Part(str(about.get("name", "")), row["content_type"], content, row["summary"])
            line = about.get("line")
            found.append((line if isinstance(line, int) else 0, row["key"], part))
        return [part for _, _, part in sorted(found, key=lambda each: each[:2])]

    def _of_package(self, children: Sequence[StoredOutline]) -> list[Part] | None:
        if any(child.is_due(self.recipe) for child in children):
            return None
        about = {child.outline.key: child.outline for child in children}
        records = self.source.get(list(about))
        present = [(key, content_hash(records[key].content)) for key in about if key in records]
        entries = list(self.store.reports.describe(OWN_RELATION, self.recipe, present))
        if not all(map(_has_outcome, entries)):
            return None
        return [
            Part(about[entry["key"]].name, about[entry["key"]].kind.value, summary=entry["summary"])
            for entry in entries
        ]


def _has_outcome(entry: Mapping[str, Any]) -> bool:
    """Whether a state is final for its content; one that was superseded comes back."""
    return entry["state"] in OUTCOMES and entry["reason"] not in PASSING_REASONS


def _record(stored: StoredOutline, content: str) -> Record:
    about = stored.outline
    metadata = {"path": about.key, "line": 1, "name": about.name, "derived": True}
    return Record(about.key, content, stored.origin, about.kind.value, about.language, metadata=metadata)


def _told(record: Record) -> tuple[Any, ...]:
    return record.content, record.content_type, record.language, dict(record.metadata)
