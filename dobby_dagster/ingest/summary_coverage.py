"""Which records of a source tree, as its files are now, have a summary of exactly that content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.record_key import split_key
from dobby_dagster.domain.records import Record, content_hash
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.domain.states import State
from dobby_dagster.ingest.deletion import is_below
from dobby_dagster.ingest.ingested_trees import IngestedTree, trees_of
from dobby_dagster.ingest.source_files import display
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster.store.cozo_store import CozoStore

PAGE = 500
MISSING, CHANGED, GONE = "no summary", "changed since its summary", "no longer in the tree"
TREE_GONE = "it is no longer there"


@dataclass(frozen=True, slots=True)
class Gap:
    """A record whose summary is missing, or is of another content.

    Attributes:
        key: The record's.
        path: Its file, as in the key.
        file: Its file, to be opened: by the path that was given.
        line: Its first line, from 1; None of a record that is no longer there.
        reason: Why it has no current summary.
    """

    key: str
    path: str
    file: str
    line: int | None
    reason: str


@dataclass
class Coverage:
    """The records of some files, and which of them have a current summary.

    Attributes:
        current: How many have one.
        gaps: Those that have none, and summaries of records that are no longer there.
        left_out: Files and folders that were not read, with the reason; and trees that are gone, if no path was given.
        outside: Paths that were given and are in no ingested tree.
    """

    current: int = 0
    gaps: list[Gap] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)


def coverage(
    store: CozoStore, recipe: RecipeId | None, paths: Sequence[Path] = (), exclude: Sequence[str] = ()
) -> Coverage:
    """Compare the files with the summaries under ``recipe``; nothing is written.

    Args:
        store: Where the records of an earlier ingestion and their summaries are.
        recipe: The model and prompt whose summaries count.
        paths: Trees that were ingested, or files and folders in them; by default all trees that were ingested.
        exclude: As for the ingestion.

    A tree is walked from its root, as its ingestion does, whose rules for what is left out hold below.

    Raises:
        SourceError: A path does not exist, or none is in a tree that was ingested.
    """
    found = Coverage()
    origins = store.records.origins()
    if not origins:
        raise SourceError("no source tree was ingested into this database", hint="run: dobby ingest PATH")
    there = [_nearby(Path(origin)) for origin in origins if Path(origin).exists()]
    if not paths:
        found.left_out |= {origin: TREE_GONE for origin in origins if not Path(origin).exists()}
    trees, outside = trees_of(paths or there, origins)
    found.outside = [display(path) for path in outside]
    if outside and not trees:
        raise SourceError(f"'{found.outside[0]}' was never ingested", hint=f"ingested: {', '.join(sorted(origins))}")
    for of in trees:
        tree = SourceTree(of.root, of.origin, of.prefix)
        records = tree.records(exclude, parts=list(of.parts))
        while page := list(islice(records, PAGE)):
            _compare(store, recipe, page, of, found)
        places = [tree.place(part) for part in of.parts]
        stored = store.records.keys_of(tree.origin)
        for key in sorted(stored.keys() - tree.keys):
            if is_below(key, places) and not is_below(key, tree.unread):
                found.gaps.append(Gap(key, stored[key], of.as_given(stored[key]), None, GONE))
        found.left_out |= tree.left_out
    return found


def _nearby(path: Path) -> Path:
    """``path`` relative to the current folder, if it is there."""
    try:
        return path.relative_to(Path.cwd())
    except (OSError, ValueError):
        return path


def _compare(
    store: CozoStore, recipe: RecipeId | None, records: Sequence[Record], tree: IngestedTree, found: Coverage
) -> None:
    present = [(record.key, content_hash(record.content)) for record in records]
    entries = list(store.reports.describe(OWN_RELATION, recipe, present))
    lacking = [entry["key"] for entry in entries if entry["summary"] is None]
    summarized = store.reports.summarized(OWN_RELATION, recipe, lacking) if lacking else set()
    for record, entry in zip(records, entries, strict=True):
        if entry["summary"] is not None:
            found.current += 1
        elif reason := _reason(entry, record.key in summarized):
            place = str(record.metadata["path"])
            found.gaps.append(Gap(record.key, place, tree.as_given(place), int(record.metadata["line"]), reason))


def _reason(entry: dict[str, str], was_summarized: bool) -> str:
    """Why a record has no current summary; empty for one that is skipped for good."""
    if entry["state"] == State.SKIPPED:
        return ""
    if entry["state"] == State.FAILED:
        return f"failed: {entry['error']}"
    return CHANGED if was_summarized else MISSING


def lines_of(gaps: Sequence[Gap]) -> Iterator[str]:
    """One line for each gap, as compilers write them: ``file:line: name: reason``."""
    for gap in gaps:
        name = split_key(gap.key, gap.path)[1] or gap.path
        yield f"{gap.file}{f':{gap.line}' if gap.line else ''}: {name}: {gap.reason}"
