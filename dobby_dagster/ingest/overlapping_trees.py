"""Trees that share files: the records of one would be there twice, under the keys of both."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.ingest.ingested_trees import name_of
from dobby_dagster.ingest.moved_tree import moves
from dobby_dagster.ingest.source_files import display, files_of, resolved
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster.store.cozo_store import CozoStore

_NAME = "--name NAME keeps the records of this one apart"


def refuse_overlaps(store: CozoStore, trees: Sequence[SourceTree], exclude: Sequence[str] = ()) -> None:
    """Refuse those of ``trees`` whose files are a part of another tree's, or the other way round.

    A tree that has records already, here or at its former place, may be ingested again.

    Args:
        store: Where the records of other trees are.
        trees: What is to be ingested together; their files need not be read.
        exclude: Glob patterns of files that are left out of each of them.

    Raises:
        SourceError: A tree shares files with one that is ingested already, or with another of ``trees``.
    """
    stored = store.records.origins()
    given = {tree.origin: None for tree in trees}
    for tree in trees:
        overlap = _overlap(tree, stored, exclude) or _overlap(tree, given, exclude)
        if overlap is None or _is_old(overlap, tree.origin, stored) or moves(store, tree, exclude):
            continue
        if overlap.other in stored:
            again = f"ingest that tree again: dobby ingest {shell_word(overlap.other)}"
            raise SourceError(f"{overlap.clause}, which is ingested already", hint=f"{again}; {overlap.apart}")
        raise SourceError(f"{overlap.clause}, which is also given", hint=f"give one of them; {overlap.apart}")


@dataclass(frozen=True, slots=True)
class _Overlap:
    """Two trees that share files.

    Attributes:
        clause: How they do.
        other: The path of the second.
        is_outer: Whether the first is in the second.
        apart: How the first can be ingested all the same.
    """

    clause: str
    other: str
    is_outer: bool
    apart: str


def _is_old(overlap: _Overlap, origin: str, stored: Mapping[str, Sequence[str]]) -> bool:
    """Whether the tree at ``origin`` has records of what it shares already."""
    return origin in stored and (overlap.is_outer or _has_records(origin, stored[origin], overlap.other))


def _overlap(tree: SourceTree, origins: Mapping[str, Sequence[str] | None], exclude: Sequence[str]) -> _Overlap | None:
    """How ``tree`` shares files with the first of other ``origins`` that it does so with.

    Args:
        tree: To be ingested.
        origins: Paths of trees, each with the places of its records; None where it has none yet.
        exclude: As for the ingestion.
    """
    given, real = display(tree.path), resolved(tree.path)
    for outer in real.parents:
        origin = display(outer)
        if origin in origins and origin != tree.origin:
            places = origins[origin]
            if (places is None or _has_records(origin, places, tree.origin)) and _has(outer, tree.origin):
                return _Overlap(f"'{given}' is inside the tree '{origin}'", origin, True, _NAME)
    for origin in sorted(origins):
        if _is_below(origin, tree.origin) and _has(real, origin, exclude):
            kind, mark = ("file", "") if os.path.isfile(origin) else ("tree", "/*")
            pattern = glob.escape(os.path.relpath(origin, tree.origin)) + mark
            apart = f"--exclude {shell_word(pattern)} leaves it out here; {_NAME}"
            return _Overlap(f"'{given}' contains the {kind} '{origin}'", origin, False, apart)
    return None


def _has(root: Path, place: str, exclude: Sequence[str] = ()) -> bool:
    """Whether the tree at ``root`` reads the file at ``place``, or one below it."""
    return any(place == file or _is_below(file, place) for file in map(display, files_of(root, exclude)))


def _has_records(origin: str, places: Sequence[str], path: str) -> bool:
    """Whether the tree at ``origin`` has records at or below ``path``; of a file those beside it count: it may be new.

    Args:
        origin: The tree's path.
        places: Of its records.
        path: In the tree.
    """
    folder = os.path.relpath(os.path.dirname(path) if os.path.isfile(path) else path, origin)
    below = f"{name_of(Path(origin), places)}/" + ("" if folder == "." else f"{folder}/")
    return any(place.startswith(below) for place in places)


def _is_below(path: str, folder: str) -> bool:
    return os.path.isabs(path) and path != folder and path.startswith(folder.rstrip("/") + "/")
