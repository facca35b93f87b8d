"""The definitions of a source tree, by file and name, by folder, and by name alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dobby_dagster.ingest.code.references import References
from dobby_dagster.ingest.graph.code_files import CodeFile, bare, names_of

_FAMILIES = {"javascript": "js", "typescript": "js", "tsx": "js", "java": "jvm", "kotlin": "jvm", "scala": "jvm",
             "cpp": "c"}  # fmt: skip


def family_of(language: str) -> str:
    """The languages that call each other share one name."""
    return _FAMILIES.get(language, language)


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, method or class.

    Attributes:
        key: The record's.
        file: Where it is.
        name: Qualified in the file, with dots.
        kind: ``function``, ``method`` or ``class``.
        references: What it refers to.
    """

    key: str
    file: CodeFile
    name: str
    kind: str
    references: References


class Definitions:
    """All of a tree; several may have one name.

    Args:
        files: Of the tree.
    """

    def __init__(self, files: Iterable[CodeFile]) -> None:
        self._in_file: dict[tuple[str, str], list[Definition]] = {}
        self._in_folder: dict[tuple[str, str, str], list[Definition]] = {}
        self._named: dict[tuple[str, str], list[Definition]] = {}
        self._members: dict[tuple[str, str], list[Definition]] = {}
        for file in files:
            self._add(file)

    def in_file(self, place: str, name: str) -> list[Definition]:
        """Those of a file with this qualified name."""
        return self._in_file.get((place, name), [])

    def in_folder(self, folder: str, language: str, name: str) -> list[Definition]:
        """Those directly in the files of a folder, not in a class, in a related language."""
        return self._in_folder.get((folder, family_of(language), name), [])

    def named(self, language: str, name: str) -> list[Definition]:
        """All of the tree whose last name this is, in a related language."""
        return self._named.get((family_of(language), name), [])

    def members(self, language: str, owner: str, name: str) -> list[Definition]:
        """Methods ``name`` of any class with the last name ``owner``, wherever they are, in a related language."""
        return self._members.get((family_of(language), f"{owner}.{name}"), [])

    def _add(self, file: CodeFile) -> None:
        own = {".".join(names_of(bare(part.name))) for part in file.parts}
        family = family_of(file.language)
        for part in file.run_parts():
            if part.kind not in ("function", "method", "class"):
                continue
            names = names_of(bare(part.name))
            kind = "method" if "::" in part.name else part.kind  # C++, outside of its class
            definition = Definition(part.key, file, ".".join(names), kind, part.references)
            for name in _visible(names, own, kind):
                self._in_file.setdefault((file.place, name), []).append(definition)
                if "." not in name:
                    self._in_folder.setdefault((file.folder, family, name), []).append(definition)
            self._named.setdefault((family, names[-1]), []).append(definition)
            if len(names) > 1:
                self._members.setdefault((family, ".".join(names[-2:])), []).append(definition)


def _visible(names: list[str], own: set[str], kind: str) -> Iterator[str]:
    """The name, and without the namespaces before it, which have no record; of a method at least its class is kept."""
    yield ".".join(names)
    least = 2 if kind == "method" else 1
    for at in range(1, len(names) - least + 1):
        if ".".join(names[:at]) in own:
            return
        yield ".".join(names[at:])
