"""Which files and folders contain the records of a tree, as its ingestion found them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dobby_dagster.domain.outlines import Outline, OutlineKind
from dobby_dagster.domain.records import Record, content_hash

if TYPE_CHECKING:
    from hashlib import _Hash

# Files whose documentation is that of their folder, the first that is there.
_OF_FOLDER = ("__init__.py", "mod.rs", "lib.rs", "doc.go", "package-info.java", "index.ts", "index.js", "main.go")
_README = ("readme.md", "readme.markdown", "readme.rst", "readme.txt", "readme")


@dataclass
class TreeOutlines:
    """Notes the records of a tree as they are written, and knows their files and folders at the end.

    Attributes:
        prefix: The first part of the tree's keys.
        documentation: What each file says of itself, by its place.
        keys: Of the records that were noted.
    """

    prefix: str
    documentation: Mapping[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    _parts: dict[str, _Hash] = field(default_factory=dict)
    _languages: dict[str, Counter[str]] = field(default_factory=dict)
    _texts: set[str] = field(default_factory=set)

    def noted(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records of the tree, each noted as it passes."""
        for record in records:
            place = str(record.metadata["path"])
            self.keys.add(record.key)
            self._languages.setdefault(place, Counter())[record.language] += 1
            digest = self._parts.setdefault(place, hashlib.sha256())
            digest.update(f"{record.key}\0{content_hash(record.content)}\0".encode("utf-8", "replace"))
            if record.key == place:
                self._texts.add(place)
            yield record

    def found(self, kept: Iterable[Outline] = (), partial: Collection[str] = ()) -> list[Outline]:
        """The files with records, and the folders above them, from the tree itself down.

        Args:
            kept: Files that were not read this time, or none of whose records was added, yet have some.
            partial: Places of files of which only some records were noted: those that are kept stay as they are.
        """
        files = {each.key: each for each in kept}
        files |= {place: self._file(place) for place in self._parts if place not in partial or place not in files}
        folders: dict[str, list[Outline]] = {}
        for file in files.values():
            for folder in self._above(file.key):
                folders.setdefault(folder, []).append(file)
        about = {place: file.documentation for place, file in files.items()} | dict(self.documentation)
        about |= {place.lower(): text for place, text in about.items() if place.lower().endswith(_README)}
        made = [self._folder(folder, below, about) for folder, below in folders.items()]
        return sorted([*files.values(), *made], key=lambda each: (each.key.count("/"), each.key))

    def _file(self, place: str) -> Outline:
        kind = OutlineKind.TEXT if place in self._texts else OutlineKind.FILE
        language = self._languages[place].most_common(1)[0][0]
        about = self.documentation.get(place, "")
        return Outline(place, self._parent(place), kind, language, about, self._parts[place].hexdigest())

    def _folder(self, folder: str, below: list[Outline], documentation: Mapping[str, str]) -> Outline:
        languages = Counter(each.language for each in below)
        names = hashlib.sha256("\0".join(sorted(each.key for each in below)).encode("utf-8", "replace")).hexdigest()
        own = [documentation.get(f"{folder}/{name}", "") for name in _OF_FOLDER]
        own += [documentation.get(f"{folder}/{name}".lower(), "") for name in _README]
        about = next(filter(None, own), "")
        language = min(languages, key=lambda each: (-languages[each], each))
        return Outline(folder, self._parent(folder), OutlineKind.PACKAGE, language, about, names)

    def _parent(self, place: str) -> str:
        return place.rpartition("/")[0] if place != self.prefix else ""

    def _above(self, place: str) -> Iterator[str]:
        while place := self._parent(place):
            yield place
