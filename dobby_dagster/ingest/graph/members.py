"""The members of classes: their own, and those of the classes that they extend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dobby_dagster.ingest.graph.by_name import method_by_name
from dobby_dagster.ingest.graph.certainties import INHERITED, MAX_CANDIDATES, OF_TYPE, Way
from dobby_dagster.ingest.graph.code_files import CodeFile
from dobby_dagster.ingest.graph.definitions import Definition, Definitions
from dobby_dagster.ingest.graph.found import OUTSIDE, Found
from dobby_dagster.ingest.graph.visibility import OPEN_CLASSES

# Classes that extend each other, and fields of fields.
_MAX_CLASSES = 12
_MAX_REOPENED = 100


class Members:
    """Finds members by name.

    Args:
        definitions: Of the tree.
        symbol: What a dotted name stands for, in a file and the scope of a qualified name; None if that is not known.
    """

    def __init__(self, definitions: Definitions, symbol: Callable[[CodeFile, str, str], Found | None]) -> None:
        self._definitions = definitions
        self._symbol = symbol

    def at_end(self, owner: Found, names: Sequence[str], way: Way) -> Found | None:
        """The method at the end of ``names``, whose others are fields; nothing outside has members in the tree."""
        if not owner.definitions:
            return OUTSIDE
        held = owner.definitions[0]
        for field in names[:-1]:
            typed = self._type_of_field(held, field)
            found = self._symbol(held.file, held.name, typed) if typed else None
            if found is None:
                inner = self._definitions.in_file(held.file.place, f"{held.name}.{field}")
                found = Found(tuple(inner), way) if inner else None
            if found is None:
                return method_by_name(self._definitions, held.file.language, names[-1]) if not typed else OUTSIDE
            if not found.definitions:
                return OUTSIDE
            held, way = found.definitions[0], OF_TYPE
        methods, is_open = self.inherited(held, names[-1], set())
        if methods:
            return Found(
                methods, way if methods[0].file is held.file else min(way, INHERITED, key=lambda w: w.certainty)
            )
        return OUTSIDE if is_open or held.kind == "class" else None

    def inherited(self, owner: Definition, name: str, seen: set[str]) -> tuple[tuple[Definition, ...], bool]:
        """The methods ``name`` of a class or of one that it extends, and whether it extends one outside of the tree."""
        if owner.key in seen or len(seen) > _MAX_CLASSES:
            return (), False
        seen.add(owner.key)
        own = self.own(owner.file, owner.name, name)
        if own:
            return own, False
        is_open = False
        for base in owner.references.bases:
            around = owner.name.rpartition(".")[0]
            found = self._symbol(owner.file, around, base)
            for each in found.definitions[:1] if found else ():
                methods, inner = self.inherited(each, name, seen)
                if methods:
                    return methods, False
                is_open |= inner
            is_open |= found is None or not found.definitions
        return (), is_open

    def own(self, file: CodeFile, owner: str, name: str) -> tuple[Definition, ...]:
        """The methods ``name`` of the class ``owner`` itself, in ``file`` or wherever it is reopened."""
        own = self._definitions.in_file(file.place, f"{owner}.{name}")
        if own:
            return tuple(own)
        if file.language not in (*OPEN_CLASSES, "go"):
            return ()
        there = self._definitions.members(file.language, owner.rpartition(".")[2], name)
        # A class that is reopened in very many files: the first of them tell that it is.
        near = [each for each in there[:_MAX_REOPENED] if each.file.folder == file.folder]
        return tuple(near or (there[: MAX_CANDIDATES + 1] if file.language in OPEN_CLASSES else ()))

    def _type_of_field(self, owner: Definition, name: str) -> str:
        seen: set[str] = set()
        left = [owner]
        while left and len(seen) < _MAX_CLASSES:
            each = left.pop()
            if each.key in seen:
                continue
            seen.add(each.key)
            for field, typed in each.references.fields:
                if field == name and typed:
                    return typed
            for base in each.references.bases:
                found = self._symbol(each.file, each.name.rpartition(".")[0], base)
                left += found.definitions[:1] if found else ()
        return ""

    def classes(self, file: CodeFile, name: str) -> list[Definition]:
        """The class ``name`` as ``file`` sees it, at most one."""
        here = [each for each in self._definitions.in_file(file.place, name) if each.kind == "class"]
        if not here and file.language in (*OPEN_CLASSES, "go"):
            there = self._definitions.in_folder(file.folder, file.language, name)
            here = [each for each in there if each.kind == "class"]
        return here[:1]
