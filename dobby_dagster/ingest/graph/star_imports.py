"""The files that a file imports everything from, directly or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dobby_dagster.ingest.graph.code_files import CodeFile
from dobby_dagster.ingest.graph.modules import Modules

# Of more files the first count.
_MAX_FILES = 300


class StarImports:
    """Remembers them for each file.

    Args:
        modules: Of the tree.
    """

    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self._ranks: dict[str, dict[str, int]] = {}
        self._of_file: dict[str, list[CodeFile]] = {}

    def ranks(self, file: CodeFile) -> dict[str, int]:
        """The files that ``file`` imports everything from, directly or not, in the order of their distance."""
        if file.place not in self._ranks:
            ranks: dict[str, int] = {}
            left = deque([file])
            while left and len(ranks) < _MAX_FILES:
                at = left.popleft()
                for there in self._direct(at):
                    if there.place not in ranks and there.place != file.place:
                        ranks[there.place] = len(ranks)
                        left.append(there)
            self._ranks[file.place] = ranks
        return self._ranks[file.place]

    def _direct(self, file: CodeFile) -> list[CodeFile]:
        """The files that ``file`` itself imports everything from."""
        if file.place not in self._of_file:
            places = [self._modules.find(file, each.module) for each in file.references.imports if each.name == "*"]
            self._of_file[file.place] = [there for place in places if place and (there := self._modules.file(place))]
        return self._of_file[file.place]

    def nearest_importing(self, ranks: Mapping[str, int], name: str) -> CodeFile | None:
        """The first of the files ``ranks`` that imports ``name``, from the shorter of two lists."""
        importing = self._modules.importing(name)
        if len(importing) < len(ranks):
            place = min((each for each in importing if each in ranks), key=ranks.__getitem__, default=None)
        else:
            place = next((each for each in ranks if each in importing), None)
        return self._modules.file(place) if place is not None else None
