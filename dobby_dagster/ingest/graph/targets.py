"""Resolves a name, where it is used, to the definitions that it stands for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dobby_dagster.ingest.code.reference_notes import IMPLICIT_THIS, SELF
from dobby_dagster.ingest.code.references import Import
from dobby_dagster.ingest.graph.certainties import (
    BY_NAME,
    COMMON,
    IMPORTED,
    INHERITED,
    MAX_CANDIDATES,
    METHOD_BY_NAME,
    OF_TYPE,
    OWN_METHOD,
    SAME_FILE,
    SAME_FOLDER,
    SEVERAL_BY_NAME,
    STAR,
    Way,
)
from dobby_dagster.ingest.graph.code_files import CodeFile
from dobby_dagster.ingest.graph.definitions import Definition, Definitions
from dobby_dagster.ingest.graph.modules import Modules

_SUPER = {"super", "base", "parent"}
# All files of a folder see each other's names.
_FOLDER_WIDE = {"go", "java", "kotlin", "scala", "csharp", "swift"}
# A bare name may be defined in any file of the tree.
_TREE_WIDE = {
    "c",
    "cpp",
    "ruby",
    "php",
    "shell",
    "csharp",
    "swift",
    "kotlin",
    "scala",
    "javascript",
    "typescript",
    "tsx",
}
# The members of one class may be in several files.
_OPEN_CLASSES = {"rust", "cpp", "csharp", "ruby", "swift", "kotlin"}
_DEEPEST = 6
_MOST_REOPENED = 100
# Files that one imports everything from, directly or not, and definitions of one name: of more, the first count.
_MAX_STARS, _MAX_NAMED = 300, 300


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for.

    Attributes:
        definitions: None of the tree if it is empty: something outside.
        way: How it was found.
    """

    definitions: tuple[Definition, ...]
    way: Way


OUTSIDE = Found((), IMPORTED)


class Targets:
    """Resolves names; nothing is executed, so dynamic names are not found.

    Args:
        definitions: Of the tree.
        modules: Of the tree.
    """

    def __init__(self, definitions: Definitions, modules: Modules) -> None:
        self._definitions = definitions
        self._modules = modules
        self._aliases: dict[str, dict[str, Import]] = {}
        self._stars: dict[str, dict[str, int]] = {}
        self._starred: dict[str, list[CodeFile]] = {}
        self._symbols: dict[tuple[str, str, str], Found | None] = {}

    def called(self, file: CodeFile, scope: str, call: str) -> Found | None:
        """What ``call`` calls, in the part of ``file`` that is named ``scope``; None if that is not known.

        Args:
            file: Where it is called.
            scope: The qualified name of the part; empty for the file outside of its parts.
            call: As :attr:`~dobby_dagster.ingest.code.references.References.calls`.
        """
        typed, of_type, rest = call.partition("().")
        if of_type:
            owner = self._symbol(file, scope, typed)
            found = self._member_of(owner, rest.split("."), OF_TYPE) if owner else None
            return found if owner else None
        names = call.split(".")
        if not names[0]:
            return self._method_by_name(file, names[-1])
        if names[0] in SELF and len(names) > 1:
            return self._of_self(file, scope, names[1:])
        if names[0] in _SUPER and len(names) > 1:
            return self._of_bases(file, scope, names[1])
        found = self._symbol(file, scope, call)
        if found is not None:
            return found
        if len(names) == 1:
            return self._by_name(file, call)
        return self._method_by_name(file, names[-1])

    def imported(self, file: CodeFile, found: Import) -> tuple[str, tuple[Definition, ...]]:
        """The place of what is imported, empty if it is outside of the tree, and the definitions that are named."""
        place = self._modules.find(file, found.module)
        if not place or found.name in ("", "*"):
            whole = self._modules.find(file, f"{found.module}.{found.name}") if found.name not in ("", "*") else ""
            return place or whole, ()
        inside = self._in_module(place, [found.name], file, _DEEPEST)
        definitions = inside.definitions if inside is not None else ()
        if definitions and self._modules.file(place) is None:
            place = definitions[0].file.place
        below = "" if definitions else self._modules.submodule(place, found.name)
        return below or place, definitions[:MAX_CANDIDATES]

    def _symbol(self, file: CodeFile, scope: str, name: str) -> Found | None:
        """What a dotted name stands for; remembered, since a type is asked for at each use."""
        known = (file.place, scope, name)
        if known not in self._symbols:
            self._symbols[known] = None  # in a cycle
            self._symbols[known] = self._look_up(file, scope, name.split("."))
        return self._symbols[known]

    def _look_up(self, file: CodeFile, scope: str, names: Sequence[str]) -> Found | None:
        for around in _prefixes(scope):
            defined = self._definitions.in_file(file.place, f"{around}.{names[0]}" if around else names[0])
            if defined and not self._is_hidden(file, around, defined):
                return self._below(Found(tuple(defined), SAME_FILE), names[1:])
        if file.language in IMPLICIT_THIS and len(names) == 1 and (found := self._of_bases(file, scope, names[0])):
            return found
        for count in range(len(names), 0, -1):
            taken = self._imports_of(file).get(".".join(names[:count]))
            if taken is not None:
                return self._by_import(file, taken, names[count:])
        if file.language == "rust" and names[0] in ("crate", "super", *SELF):
            place = self._modules.find(file, "::".join(names[:-1]))
            return self._in_module(place, names[-1:], file, _DEEPEST) if place else None
        if found := self._by_star(file, names, _DEEPEST):
            return found
        if file.language in _FOLDER_WIDE and (
            near := self._definitions.in_folder(file.folder, file.language, names[0])
        ):
            return self._below(Found(tuple(near), SAME_FOLDER), names[1:])
        return None

    def _is_hidden(self, file: CodeFile, around: str, defined: Sequence[Definition]) -> bool:
        """Whether bare names do not reach into the class ``around``, as in Python."""
        if file.language in (*IMPLICIT_THIS, "ruby") or not around:
            return False
        return any(each.kind == "class" for each in self._definitions.in_file(file.place, around)) or (
            defined[0].kind == "method"
        )

    def _imports_of(self, file: CodeFile) -> dict[str, Import]:
        if file.place not in self._aliases:
            self._aliases[file.place] = {each.alias: each for each in file.references.imports if each.alias}
        return self._aliases[file.place]

    def _by_import(self, file: CodeFile, found: Import, names: Sequence[str], depth: int = _DEEPEST) -> Found | None:
        place = self._modules.find(file, found.module)
        if not place and found.name:
            separator = "::" if file.language == "rust" else "."
            place = self._modules.find(file, f"{found.module}{separator}{found.name}")
            if place:  # a class of Java, in a file of its own
                return self._in_module(place, [found.name, *names], file, depth) or OUTSIDE
        if not place:
            return OUTSIDE
        wanted = [found.name, *names] if found.name else list(names)
        if not wanted:
            return OUTSIDE
        if wanted[0] == "default":
            inside = self._in_module(place, wanted, file, depth)
            return inside or self._in_module(place, [found.alias, *wanted[1:]], file, depth) or OUTSIDE
        return self._in_module(place, wanted, file, depth) or OUTSIDE

    def _in_module(self, place: str, names: Sequence[str], user: CodeFile, depth: int) -> Found | None:
        """What ``names`` stand for in the file or folder ``place``."""
        if depth == 0 or not names:
            return None
        for count in range(len(names), 0, -1):  # a class may be in a namespace, which is no record
            if defined := self._definitions.in_file(place, ".".join(names[:count])):
                return self._below(Found(tuple(defined), IMPORTED), names[count:])
        if defined := self._definitions.in_folder(place, user.language, names[0]):
            return self._below(Found(tuple(defined), IMPORTED), names[1:])
        file = self._modules.file(place)
        if file is not None:
            again = self._imports_of(file).get(names[0])
            if again is not None and (again.module, again.name) != (".", names[0]):
                return self._by_import(file, again, names[1:], depth - 1)
            if found := self._by_star(file, names, depth - 1):
                return found
        below = self._modules.submodule(place, names[0])
        return self._in_module(below, names[1:], user, depth - 1) if below and below != place else None

    def _by_star(self, file: CodeFile, names: Sequence[str], depth: int) -> Found | None:
        """What ``names`` stand for in the files that ``file`` imports everything from, the nearest first."""
        ranks = self._star_ranks(file)
        for count in range(len(names), 0, -1) if ranks else ():
            name = ".".join(names[:count])
            found = [
                (ranks[each.file.place], each)
                for each in self._definitions.named(file.language, names[count - 1])[:_MAX_NAMED]
                if each.file.place in ranks and each.name.endswith(name)
            ]
            nearest = min((rank for rank, _ in found), default=0)
            defined = self._definitions.in_file(next((e.file.place for r, e in found if r == nearest), ""), name)
            if defined:
                return self._below(Found(tuple(defined), STAR), names[count:])
        if depth > 0 and file.language not in ("c", "cpp"):
            there = self._nearest_importing(ranks, names[0])
            again = self._imports_of(there)[names[0]] if there else None
            found_there = self._by_import(there, again, names[1:], depth - 1) if there and again else None
            return Found(found_there.definitions, STAR) if found_there else None
        return None

    def _nearest_importing(self, ranks: Mapping[str, int], name: str) -> CodeFile | None:
        """The first of the files ``ranks`` that imports ``name``, from the shorter of two lists."""
        importing = self._modules.importing(name)
        if len(importing) < len(ranks):
            place = min((each for each in importing if each in ranks), key=ranks.__getitem__, default=None)
        else:
            place = next((each for each in ranks if each in importing), None)
        return self._modules.file(place) if place is not None else None

    def _star_ranks(self, file: CodeFile) -> dict[str, int]:
        """The files that ``file`` imports everything from, directly or not, in the order of their distance."""
        if file.place not in self._stars:
            ranks: dict[str, int] = {}
            left = deque([file])
            while left and len(ranks) < _MAX_STARS:
                at = left.popleft()
                for there in self._star_imports(at):
                    if there.place not in ranks and there.place != file.place:
                        ranks[there.place] = len(ranks)
                        left.append(there)
            self._stars[file.place] = ranks
        return self._stars[file.place]

    def _star_imports(self, file: CodeFile) -> list[CodeFile]:
        """The files that ``file`` itself imports everything from."""
        if file.place not in self._starred:
            places = [self._modules.find(file, each.module) for each in file.references.imports if each.name == "*"]
            self._starred[file.place] = [there for place in places if place and (there := self._modules.file(place))]
        return self._starred[file.place]

    def _below(self, found: Found, names: Sequence[str]) -> Found | None:
        """What ``names`` stand for within what was found."""
        return self._member_of(found, names, found.way) if names else found

    def _member_of(self, owner: Found, names: Sequence[str], way: Way) -> Found | None:
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
                return self._method_by_name(held.file, names[-1]) if not typed else OUTSIDE
            if not found.definitions:
                return OUTSIDE
            held, way = found.definitions[0], OF_TYPE
        methods, is_open = self._members(held, names[-1], set())
        if methods:
            return Found(
                methods, way if methods[0].file is held.file else min(way, INHERITED, key=lambda w: w.certainty)
            )
        return OUTSIDE if is_open or held.kind == "class" else None

    def _members(self, owner: Definition, name: str, seen: set[str]) -> tuple[tuple[Definition, ...], bool]:
        """The methods ``name`` of a class or of one that it extends, and whether it extends one outside of the tree."""
        if owner.key in seen or len(seen) > _DEEPEST * 2:
            return (), False
        seen.add(owner.key)
        own = self._own_members(owner.file, owner.name, name)
        if own:
            return own, False
        is_open = False
        for base in owner.references.bases:
            around = owner.name.rpartition(".")[0]
            found = self._symbol(owner.file, around, base)
            for each in found.definitions[:1] if found else ():
                methods, inner = self._members(each, name, seen)
                if methods:
                    return methods, False
                is_open |= inner
            is_open |= found is None or not found.definitions
        return (), is_open

    def _own_members(self, file: CodeFile, owner: str, name: str) -> tuple[Definition, ...]:
        own = self._definitions.in_file(file.place, f"{owner}.{name}")
        if own:
            return tuple(own)
        if file.language not in (*_OPEN_CLASSES, "go"):
            return ()
        there = self._definitions.members(file.language, owner.rpartition(".")[2], name)
        # A class that is reopened in very many files: the first of them tell that it is.
        near = [each for each in there[:_MOST_REOPENED] if each.file.folder == file.folder]
        return tuple(near or (there[: MAX_CANDIDATES + 1] if file.language in _OPEN_CLASSES else ()))

    def _type_of_field(self, owner: Definition, name: str) -> str:
        seen: set[str] = set()
        left = [owner]
        while left and len(seen) < _DEEPEST * 2:
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

    def _of_self(self, file: CodeFile, scope: str, names: Sequence[str]) -> Found | None:
        is_open = False
        for owner in _prefixes(scope):
            if not owner:
                break
            if len(names) == 1 and (own := self._own_members(file, owner, names[0])):
                return Found(own, OWN_METHOD)
            for held in self._classes(file, owner):
                if len(names) > 1:
                    return self._member_of(Found((held,), OF_TYPE), names, OF_TYPE)
                methods, is_open = self._members(held, names[0], set())
                if methods:
                    return Found(methods, INHERITED)
        if file.language == "rust" and (found := self._definitions.in_file(file.place, names[-1])):
            return Found(tuple(found), SAME_FILE)
        return OUTSIDE if is_open else self._method_by_name(file, names[-1])

    def _of_bases(self, file: CodeFile, scope: str, name: str) -> Found | None:
        for owner in _prefixes(scope):
            for held in self._classes(file, owner) if owner else ():
                for base in held.references.bases:
                    found = self._symbol(file, owner.rpartition(".")[0], base)
                    for each in found.definitions[:1] if found else ():
                        methods, _ = self._members(each, name, {held.key})
                        if methods:
                            return Found(methods, INHERITED)
                return None
        return None

    def _classes(self, file: CodeFile, name: str) -> list[Definition]:
        here = [each for each in self._definitions.in_file(file.place, name) if each.kind == "class"]
        if not here and file.language in (*_OPEN_CLASSES, "go"):
            there = self._definitions.in_folder(file.folder, file.language, name)
            here = [each for each in there if each.kind == "class"]
        return here[:1]

    def _by_name(self, file: CodeFile, name: str) -> Found | None:
        if file.language not in _TREE_WIDE:
            return None
        return _few(self._definitions.named(file.language, name), BY_NAME, {"function", "class"}, {"method"})

    def _method_by_name(self, file: CodeFile, name: str) -> Found | None:
        if name in COMMON or len(name) < 3:
            return None
        return _few(self._definitions.named(file.language, name), METHOD_BY_NAME, {"method"}, set())


def _few(there: Sequence[Definition], way: Way, kinds: set[str], more: set[str]) -> Found | None:
    """Those of ``kinds``, else of ``more``, if they are few."""
    for wanted in (kinds, more):
        found = tuple(each for each in there[: 10 * MAX_CANDIDATES] if each.kind in wanted)
        if found:
            if len(found) > MAX_CANDIDATES or len(there) > 10 * MAX_CANDIDATES:
                return None
            return Found(found, way if len(found) == 1 else SEVERAL_BY_NAME)
    return None


def _prefixes(scope: str) -> Iterator[str]:
    """``scope``, then without its last names, one after another, and the empty name."""
    while scope:
        yield scope
        scope = scope.rpartition(".")[0]
    yield ""
