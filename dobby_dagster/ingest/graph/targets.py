"""Resolves a name, where it is used, to the definitions that it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dobby_dagster.ingest.code.reference_notes import IMPLICIT_THIS, SELF
from dobby_dagster.ingest.code.references import Import
from dobby_dagster.ingest.graph.by_name import by_name, method_by_name
from dobby_dagster.ingest.graph.certainties import (
    IMPORTED,
    INHERITED,
    MAX_CANDIDATES,
    OF_TYPE,
    OWN_METHOD,
    SAME_FILE,
    SAME_FOLDER,
    STAR,
)
from dobby_dagster.ingest.graph.code_files import CodeFile
from dobby_dagster.ingest.graph.definitions import Definition, Definitions
from dobby_dagster.ingest.graph.found import OUTSIDE, Found
from dobby_dagster.ingest.graph.members import Members
from dobby_dagster.ingest.graph.modules import Modules
from dobby_dagster.ingest.graph.star_imports import StarImports
from dobby_dagster.ingest.graph.visibility import FOLDER_WIDE, SUPER

_DEEPEST = 6
# Definitions of one name: of more, the first count.
_MAX_NAMED = 300


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
        self._stars = StarImports(modules)
        self._members = Members(definitions, self._symbol)
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
            found = self._members.at_end(owner, rest.split("."), OF_TYPE) if owner else None
            return found if owner else None
        names = call.split(".")
        if not names[0]:
            return method_by_name(self._definitions, file.language, names[-1])
        if names[0] in SELF and len(names) > 1:
            return self._of_self(file, scope, names[1:])
        if names[0] in SUPER and len(names) > 1:
            return self._of_bases(file, scope, names[1])
        found = self._symbol(file, scope, call)
        if found is not None:
            return found
        if len(names) == 1:
            return by_name(self._definitions, file.language, call)
        return method_by_name(self._definitions, file.language, names[-1])

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
        if file.language in FOLDER_WIDE and (near := self._definitions.in_folder(file.folder, file.language, names[0])):
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
        ranks = self._stars.ranks(file)
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
            there = self._stars.nearest_importing(ranks, names[0])
            again = self._imports_of(there)[names[0]] if there else None
            found_there = self._by_import(there, again, names[1:], depth - 1) if there and again else None
            return Found(found_there.definitions, STAR) if found_there else None
        return None

    def _below(self, found: Found, names: Sequence[str]) -> Found | None:
        """What ``names`` stand for within what was found."""
        return self._members.at_end(found, names, found.way) if names else found

    def _of_self(self, file: CodeFile, scope: str, names: Sequence[str]) -> Found | None:
        is_open = False
        for owner in _prefixes(scope):
            if not owner:
                break
            if len(names) == 1 and (own := self._members.own(file, owner, names[0])):
                return Found(own, OWN_METHOD)
            for held in self._members.classes(file, owner):
                if len(names) > 1:
                    return self._members.at_end(Found((held,), OF_TYPE), names, OF_TYPE)
                methods, is_open = self._members.inherited(held, names[0], set())
                if methods:
                    return Found(methods, INHERITED)
        if file.language == "rust" and (found := self._definitions.in_file(file.place, names[-1])):
            return Found(tuple(found), SAME_FILE)
        return OUTSIDE if is_open else method_by_name(self._definitions, file.language, names[-1])

    def _of_bases(self, file: CodeFile, scope: str, name: str) -> Found | None:
        for owner in _prefixes(scope):
            for held in self._members.classes(file, owner) if owner else ():
                for base in held.references.bases:
                    found = self._symbol(file, owner.rpartition(".")[0], base)
                    for each in found.definitions[:1] if found else ():
                        methods, _ = self._members.inherited(each, name, {held.key})
                        if methods:
                            return Found(methods, INHERITED)
                return None
        return None


def _prefixes(scope: str) -> Iterator[str]:
    """``scope``, then without its last names, one after another, and the empty name."""
    while scope:
        yield scope
        scope = scope.rpartition(".")[0]
    yield ""
