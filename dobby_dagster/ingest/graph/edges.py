"""The edges of a source tree."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from dobby_dagster.domain.code_graph import OUTSIDE, Edge, EdgeKind
from dobby_dagster.ingest.graph.certainties import CONTAINED, EXTERNAL, IMPORTED, MAX_CANDIDATES, Way
from dobby_dagster.ingest.graph.code_files import CodeFile, bare, names_of
from dobby_dagster.ingest.graph.definitions import Definitions
from dobby_dagster.ingest.graph.modules import Modules, package_of
from dobby_dagster.ingest.graph.targets import Targets


def edges_of(files: Sequence[CodeFile], prefix: str, kept: Collection[str]) -> Iterator[Edge]:
    """All edges between records that are kept, and the files and folders that contain them; some more than once.

    Args:
        files: Of the tree.
        prefix: The place of the tree itself.
        kept: The keys of the records that are stored.
    """
    modules = Modules(files)
    targets = Targets(Definitions(files), modules)
    nodes = nodes_of(files, prefix, kept)
    for file in files:
        if file.place in nodes:
            yield from _contained(file, prefix, nodes)
            yield from _imports(file, targets, nodes)
            yield from _calls(file, targets, nodes)


def nodes_of(files: Sequence[CodeFile], prefix: str, kept: Collection[str]) -> set[str]:
    """The kept keys, and the places of their files and of the folders around them up to ``prefix``."""
    nodes: set[str] = set()
    for file in files:
        keys = [part.key for part in file.parts if part.key in kept]
        if keys:
            nodes.update(keys)
            nodes.add(file.place)
            nodes.update(folders_of(file.place, prefix))
    return nodes


def folders_of(place: str, prefix: str) -> Iterator[str]:
    """The places of the folders around a file, up to the tree's."""
    while place != prefix and "/" in place:
        place = place.rpartition("/")[0]
        yield place


def _edge(start: str, kind: EdgeKind, end: str, way: Way, candidates: int = 1) -> Edge:
    return Edge(start, kind, end, way.found_by, round(way.certainty / candidates, 3))


def _contained(file: CodeFile, prefix: str, nodes: set[str]) -> Iterator[Edge]:
    below = file.place
    for folder in folders_of(file.place, prefix):
        yield _edge(folder, EdgeKind.CONTAINS, below, CONTAINED)
        below = folder
    first: dict[str, str] = {}
    for part in file.run_parts():
        first.setdefault(bare(part.name), part.key)
    for part in file.parts:
        if part.key in nodes and part.key != file.place:
            yield _edge(_around(file, bare(part.name), first, nodes), EdgeKind.CONTAINS, part.key, CONTAINED)


def _around(file: CodeFile, name: str, first: dict[str, str], nodes: set[str]) -> str:
    """The record of the file whose name is the longest beginning of ``name``; else the file."""
    separator = " > " if " > " in name else "."
    while separator in name:
        name = name.rpartition(separator)[0]
        if first.get(name) in nodes:
            return first[name]
    return file.place


def _imports(file: CodeFile, targets: Targets, nodes: set[str]) -> Iterator[Edge]:
    for each in file.references.imports:
        if not each.module:
            continue
        place, definitions = targets.imported(file, each)
        if not place:
            package = package_of(file.language, each.module)
            if package:
                yield _edge(file.place, EdgeKind.IMPORTS, f"{OUTSIDE}{package}", EXTERNAL)
            continue
        end = place if place in nodes else place.removesuffix("/__init__.py")  # which is empty
        if end in nodes and end != file.place:
            yield _edge(file.place, EdgeKind.IMPORTS, end, IMPORTED)
        for definition in definitions:
            if definition.key in nodes:
                yield _edge(file.place, EdgeKind.IMPORTS, definition.key, IMPORTED, len(definitions))


def _calls(file: CodeFile, targets: Targets, nodes: set[str]) -> Iterator[Edge]:
    callers = [(file.place, "", file.references)]
    callers += [(part.key, ".".join(names_of(bare(part.name))), part.references) for part in file.parts]
    for start, scope, references in callers:
        if start not in nodes:
            continue
        for call in references.calls:
            found = targets.called(file, scope, call)
            if found is None or len(found.definitions) > MAX_CANDIDATES:
                continue
            for definition in found.definitions:
                if definition.key in nodes:
                    yield _edge(start, EdgeKind.CALLS, definition.key, found.way, len(found.definitions))
