"""Fill Dobby's own relation ``record`` from source trees and text files."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Record
from dobby_dagster.ingest.deletion import Deletion, is_below, renamed, vanished
from dobby_dagster.ingest.graph.graph_writing import write_graph
from dobby_dagster.ingest.moved_tree import Move, moves
from dobby_dagster.ingest.overlapping_trees import refuse_overlaps
from dobby_dagster.ingest.source_files import display, resolved
from dobby_dagster.ingest.tree_outlines import TreeOutlines
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.code_graph import EdgeChanges
from dobby_dagster.store.ledger.own_records import Records

PAGE = 500
PAGE_BYTES = 8_000_000
Permits = Callable[[Deletion | Move], bool]


@dataclass
class Ingested:
    """The result of an ingestion.

    Attributes:
        files: How many files were read.
        found: How many records were in them.
        written: How many of those were new or changed.
        unchanged: How many were stored already.
        deleted: How many stored records were deleted, since they are no longer found.
        left_out: Files and folders that were not read, with the reason.
        edges: What changed in the code graph.
        moved: Where trees were ingested before, by where they are now.
    """

    files: int = 0
    found: int = 0
    written: int = 0
    unchanged: int = 0
    deleted: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    edges: EdgeChanges = field(default_factory=EdgeChanges)
    moved: dict[str, list[str]] = field(default_factory=dict)


def ingest(
    store: CozoStore,
    roots: Sequence[Path],
    *,
    limit: int | None = None,
    name: str | None = None,
    exclude: Sequence[str] = (),
    on_file: Callable[[Path], None] = lambda path: None,
    permits: Permits = lambda doubtful: True,
) -> Ingested:
    """Read ``roots``, write new and changed records and edges of the code graph, and delete what is no longer found.

    Records of a tree that was moved since are those of its new place. The files and folders that contain the records
    are stored too, unless only a sample of the records is kept.

    Args:
        store: Where the relation is.
        roots: Files and folders.
        limit: Keep at most this many records of each root (a stable sample: a larger limit includes a smaller one).
        name: First part of every key; by default the root's own name.
        exclude: Glob patterns; a file whose path below its root matches one is left out.
        on_file: Called with each file that is read.
        permits: Asked before a deletion, or the use of another place's records, that may be unintended.

    Raises:
        SourceError: A root does not exist, shares files with another tree and has no ``name`` that keeps it apart,
            another root has its keys, or something is not permitted.
    """
    done, records = Ingested(), store.records
    trees = [_tree(path, name) for path in roots]
    if name is None:
        refuse_overlaps(store, trees, exclude)
    for tree in trees:
        path = tree.path
        moved = moves(store, tree, exclude)
        for move in moved:
            if move.needs_permission:
                _require(move, permits)
        for move in moved:
            records.move(move.former, tree.origin)
            done.moved.setdefault(tree.origin, []).append(move.former)
        stored = records.keys_of(tree.origin)
        if deletion := renamed(display(path), tree.prefix, stored):
            _require(deletion, permits, moved)
        found = tree.records(exclude, on_file)
        if limit is not None:
            found = _sample(found, limit)
        outlines = TreeOutlines(tree.prefix, tree.documentation)
        _write(records, outlines.noted(found), tree.origin, done)
        done.files += tree.files
        done.found += len(tree.keys)
        done.left_out |= tree.left_out
        missing = sorted(key for key in stored.keys() - tree.keys if not is_below(key, tree.unread))
        if deletion := vanished(display(path), missing, stored):
            _require(deletion, permits, moved)
        records.remove(missing)
        gone = frozenset(missing)
        still = {key: place for key, place in stored.items() if key not in gone}
        done.edges += write_graph(store.graph, tree, outlines.keys | still.keys(), still)
        done.deleted += len(missing)
        remaining = frozenset(still.values())
        partial = {place for key, place in tree.keys.items() if key not in outlines.keys}
        kept = [each for each in store.outlines.of(tree.origin) if each.key in remaining]
        # A few functions of a file don't tell what the file is.
        is_whole = tree.keys.keys() <= outlines.keys | stored.keys()
        store.outlines.replace(tree.origin, outlines.found(kept, partial) if is_whole else [])
        records.remove(store.outlines.orphans(tree.origin))
    return done


def _tree(path: Path, name: str | None) -> SourceTree:
    real = resolved(path)
    return SourceTree(path, display(real), name or display(Path(real.name)))


def _require(doubtful: Deletion | Move, permits: Permits, moved: Sequence[Move] = ()) -> None:
    """Ask for a permission; a refusal says what was ``moved`` already.

    Raises:
        SourceError: It is refused.
    """
    if not permits(doubtful):
        message, hint = doubtful.refusal
        if moved:
            hint += f"; the records of {', '.join(repr(each.former) for each in moved)} are this path's already"
        raise SourceError(message, hint=hint)


def _sample(records: Iterable[Record], limit: int) -> Iterator[Record]:
    """``limit`` records in the order of ``records``, on which the digests of files depend."""
    sample = heapq.nsmallest(limit, enumerate(records), key=lambda numbered: _rank(numbered[1]))
    return (record for _, record in sorted(sample, key=lambda numbered: numbered[0]))


def _rank(record: Record) -> bytes:
    return hashlib.sha256(record.key.encode("utf-8", "replace")).digest()


def _write(records: Records, found: Iterator[Record], origin: str, done: Ingested) -> None:
    """Write in pages, so that neither memory nor a transaction grows with the tree."""
    page: list[Record] = []
    size = 0
    for record in found:
        page.append(record)
        size += record.size
        if len(page) == PAGE or size > PAGE_BYTES:
            _put(records, page, origin, done)
            page, size = [], 0
    _put(records, page, origin, done)


def _put(records: Records, page: Sequence[Record], origin: str, done: Ingested) -> None:
    written = records.put_changed(page, origin) if page else 0
    done.written += written
    done.unchanged += len(page) - written
