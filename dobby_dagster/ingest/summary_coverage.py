"""Which records of a source tree, as its files are now, have a summary of exactly that content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.record_key import split_key
from dobby_dagster.domain.records import Record, content_hash
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.domain.states import State
from dobby_dagster.ingest.deletion import is_below
from dobby_dagster.ingest.source_files import display, resolved
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster.store.cozo_store import CozoStore

PAGE = 500
MISSING, CHANGED, GONE = "no summary", "changed since its summary", "no longer in the tree"


@dataclass(frozen=True, slots=True)
class Gap:
    """A record whose summary is missing, or is of another content.

    Attributes:
        key: The record's.
        path: Its file, as in the key.
        line: Its first line, from 1; None of a record that is no longer there.
        reason: Why it has no current summary.
    """

    key: str
    path: str
    line: int | None
    reason: str


@dataclass
class Coverage:
    """The records of some files, and which of them have a current summary.

    Attributes:
        current: How many have one.
        gaps: Those that have none, and summaries of records that are no longer there.
        left_out: Files and folders that were not read, with the reason.
    """

    current: int = 0
    gaps: list[Gap] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def coverage(
    store: CozoStore, recipe: RecipeId | None, paths: Sequence[Path] = (), exclude: Sequence[str] = ()
) -> Coverage:
    """Compare the files with the summaries under ``recipe``; nothing is written.

    Args:
        store: Where the records of an earlier ingestion and their summaries are.
        recipe: The model and prompt whose summaries count.
        paths: Trees that were ingested, or files and folders in them; by default all trees that were ingested.
        exclude: As for the ingestion.

    Raises:
        SourceError: A path does not exist, or was never ingested.
    """
    found = Coverage()
    origins = store.records.origins()
    if not origins:
        raise SourceError("no source tree was ingested into this database", hint="run: dobby ingest PATH")
    names = {origin: _prefix(Path(origin), places) for origin, places in origins.items()}
    there = [Path(origin) for origin in origins if Path(origin).exists()]
    if not paths:
        found.left_out |= {origin: "it is no longer there" for origin in origins if Path(origin) not in there}
    for (root, origin), parts in _parts(paths or there, names).items():
        tree = SourceTree(root, origin, names[origin])
        records = tree.records(exclude, parts=parts)
        while page := list(islice(records, PAGE)):
            _compare(store, recipe, page, found)
        places = [tree.place(part) for part in parts]
        stored = store.records.keys_of(tree.origin)
        for key in sorted(stored.keys() - tree.keys):
            if is_below(key, places) and not is_below(key, tree.unread):
                found.gaps.append(Gap(key, stored[key], None, GONE))
        found.left_out |= tree.left_out
    return found


def _parts(paths: Sequence[Path], names: Mapping[str, str]) -> dict[tuple[Path, str], list[Path]]:
    """The trees that ``paths`` are in, each with its origin, and with the real paths that are wanted of it.

    A tree is walked from its root, as its ingestion does, whose rules for what is left out hold below. A tree that was
    ingested elsewhere, on another machine say, and is not at that place here, is known by its name.

    Args:
        paths: Files and folders.
        names: The first part of the keys of each origin.

    Raises:
        SourceError: A path does not exist, or was never ingested.
    """
    moved = {name: origin for origin, name in names.items() if not Path(origin).exists()}
    found: dict[tuple[Path, str], list[Path]] = {}
    for path in paths:
        real = resolved(path)
        places = (real, *real.parents)
        here = ((place, display(place)) for place in places if display(place) in names)
        elsewhere = ((place, moved[place.name]) for place in places if place.name in moved)
        root = next(chain(here, elsewhere), None)
        if root is None:
            raise SourceError(f"'{display(path)}' was never ingested", hint=f"ingested: {', '.join(sorted(names))}")
        found.setdefault(root, []).append(real)
    return found


def _prefix(origin: Path, places: Sequence[str]) -> str:
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


def _compare(store: CozoStore, recipe: RecipeId | None, records: Sequence[Record], found: Coverage) -> None:
    present = [(record.key, content_hash(record.content)) for record in records]
    entries = list(store.reports.describe(OWN_RELATION, recipe, present))
    lacking = [entry["key"] for entry in entries if entry["summary"] is None]
    summarized = store.reports.summarized(OWN_RELATION, recipe, lacking) if lacking else set()
    for record, entry in zip(records, entries, strict=True):
        if entry["summary"] is not None:
            found.current += 1
        elif reason := _reason(entry, record.key in summarized):
            found.gaps.append(Gap(record.key, str(record.metadata["path"]), int(record.metadata["line"]), reason))


def _reason(entry: dict[str, str], was_summarized: bool) -> str:
    """Why a record has no current summary; empty for one that is skipped for good."""
    if entry["state"] == State.SKIPPED:
        return ""
    if entry["state"] == State.FAILED:
        return f"failed: {entry['error']}"
    return CHANGED if was_summarized else MISSING


def lines_of(gaps: Sequence[Gap]) -> Iterator[str]:
    """One line for each gap, as compilers write them: ``path:line: key: reason``."""
    for gap in gaps:
        name = split_key(gap.key, gap.path)[1] or gap.path
        yield f"{gap.path}{f':{gap.line}' if gap.line else ''}: {name}: {gap.reason}"
