"""The trees that were ingested, and which of them a path is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, takewhile
from pathlib import Path

from dobby_dagster.ingest.source_files import display, resolved


@dataclass(frozen=True, slots=True)
class IngestedTree:
    """A tree, and what is wanted of it.

    Attributes:
        root: Its real path.
        origin: Where it was ingested, the source of its records.
        prefix: The first part of their keys.
        parts: Files and folders in it: their real paths, with the paths as given.
    """

    root: Path
    origin: str
    prefix: str
    parts: dict[Path, Path] = field(default_factory=dict)

    def as_given(self, place: str) -> str:
        """The path of a file of :attr:`parts` by the path that was given, so that it can be opened as that can.

        Args:
            place: Of the file, as in the keys.
        """
        file = self.root / place[len(self.prefix) + 1 :]
        given = (path / file.relative_to(real) for real, path in self.parts.items() if file.is_relative_to(real))
        return display(next(given, file))


def trees_of(paths: Sequence[Path], origins: Mapping[str, Sequence[str]]) -> tuple[list[IngestedTree], list[Path]]:
    """The trees that ``paths`` are in, each with those that are parts of it; and those that are in none.

    A tree that was ingested elsewhere, on another machine say, and is not at that place here, is known by its name.

    Args:
        paths: Files and folders.
        origins: Where trees were ingested, each with its files, as in the keys, in order.

    Raises:
        SourceError: A path does not exist.
    """
    names = {origin: name_of(Path(origin), places) for origin, places in origins.items()}
    moved = {name: origin for origin, name in names.items() if not Path(origin).exists()}
    found: dict[tuple[Path, str], IngestedTree] = {}
    outside = []
    for path in paths:
        real = resolved(path)
        places = (real, *real.parents)
        here = ((place, display(place)) for place in places if display(place) in names)
        elsewhere = ((place, moved[place.name]) for place in places if place.name in moved)
        root = next(chain(here, elsewhere), None)
        if root is None:
            outside.append(path)
        else:
            found.setdefault(root, IngestedTree(*root, names[root[1]])).parts[real] = path
    return list(found.values()), outside


def name_of(origin: Path, places: Sequence[str]) -> str:
    """The name of the tree at ``origin``, which may have slashes: by it most of ``places``, its files, are there.

    Args:
        origin: The tree's path.
        places: In order.
    """
    if origin.is_file():
        return places[0]
    folders = zip(places[0].split("/")[:-1], places[-1].split("/")[:-1], strict=False)
    shared = [one for one, other in takewhile(lambda pair: pair[0] == pair[1], folders)]
    names = ["/".join(shared[:i]) for i in range(1, len(shared) + 1)]
    return max(names, key=lambda n: sum((origin / place[len(n) + 1 :]).exists() for place in places), default=places[0])
