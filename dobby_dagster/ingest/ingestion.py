"""Fill Dobby's own relation ``record`` from source trees and text files."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Record
from dobby_dagster.ingest.piece import UnreadableError
from dobby_dagster.ingest.regular_files import NotReadError
from dobby_dagster.ingest.source_files import display, resolved, text_of, walk
from dobby_dagster.ingest.splitter_process import Splitter
from dobby_dagster.store.ledger.own_records import Records

PAGE = 500
PAGE_BYTES = 8_000_000
MANY = 50


@dataclass
class Ingested:
    """What one ingestion did.

    Attributes:
        left_out: Files and folders that were not read, with the reason.
    """

    files: int = 0
    found: int = 0
    written: int = 0
    unchanged: int = 0
    deleted: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """A deletion that may not be meant.

    Attributes:
        root: What is ingested.
        gone: How many of the records that were ingested from it before would be deleted.
        stored: How many records those are.
        reason: Why they would be.
    """

    root: str
    gone: int
    stored: int
    reason: str


@dataclass
class _Root:
    """One of the paths that are ingested.

    Attributes:
        origin: Where its records are said to come from.
        prefix: The first part of its keys.
        keys: Those found so far.
        unread: Places that could not be read this time; what is stored of them stays.
    """

    path: Path
    origin: str
    prefix: str
    keys: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)

    def place(self, path: Path) -> str:
        below = display(path.relative_to(self.path))
        return self.prefix if below == "." else f"{self.prefix}/{below}"

    def new_key(self, key: str) -> str:
        """``key``, with a number where another file's has the same text."""
        unique = next(k for n in count(1) if (k := key if n == 1 else f"{key}#{n}") not in self.keys)
        self.keys.add(unique)
        return unique


def ingest(
    records: Records,
    roots: Sequence[Path],
    *,
    limit: int | None = None,
    name: str | None = None,
    exclude: Sequence[str] = (),
    on_file: Callable[[Path], None] = lambda path: None,
    may_delete: Callable[[Loss], bool] = lambda loss: True,
) -> Ingested:
    """Read ``roots``, write what is new or changed, and remove what a root no longer holds.

    Args:
        records: Where to.
        roots: Files and folders.
        limit: Keep at most this many records (a stable sample: a larger limit holds a smaller one).
        name: First part of every key; by default the root's own name.
        exclude: Glob patterns; a file whose path below its root matches one is left out.
        on_file: Called with each file that is read.
        may_delete: Asked before records are deleted because of another name, or more than half of many.

    Raises:
        SourceError: A root is not there, its keys are taken by another root, or records may not be deleted.
    """
    done = Ingested()
    for path in roots:
        real = resolved(path)
        root = _Root(path, display(real), name or display(Path(real.name)))
        stored = records.keys_of(root.origin)
        _check_name(root, stored, may_delete)
        found = _records(root, exclude, done, on_file)
        if limit is not None:
            found = iter(heapq.nsmallest(limit, found, key=_order))
        _write(records, found, root.origin, done)
        gone = sorted(key for key in stored - root.keys if not _is_of(key, root.unread))
        if len(gone) > MANY and len(gone) * 2 > len(stored):
            _check(Loss(display(path), len(gone), len(stored), "they are no longer found there"), may_delete)
        records.remove(gone)
        done.deleted += len(gone)
    return done


def _order(record: Record) -> bytes:
    return hashlib.sha256(record.key.encode("utf-8", "replace")).digest()


def _is_of(key: str, places: Sequence[str]) -> bool:
    return key in places or key.startswith(tuple(place + mark for place in places for mark in ("/", "::")))


def _check_name(root: _Root, stored: set[str], may_delete: Callable[[Loss], bool]) -> None:
    others = sum(not _is_of(key, [root.prefix]) for key in stored)
    if others:
        reason = f"they were ingested under another name than '{root.prefix}'"
        _check(Loss(display(root.path), others, len(stored), reason), may_delete)


def _check(loss: Loss, may_delete: Callable[[Loss], bool]) -> None:
    if not may_delete(loss):
        raise SourceError(
            f"{loss.gone:,} of the {loss.stored:,} records of '{loss.root}' would be deleted: {loss.reason}",
            hint="nothing was deleted; --yes deletes them",
        )


def _records(root: _Root, exclude: Sequence[str], done: Ingested, on_file: Callable[[Path], None]) -> Iterator[Record]:
    with Splitter() as splitter:
        yield from _records_by(splitter, root, exclude, done, on_file)


def _records_by(
    splitter: Splitter, root: _Root, exclude: Sequence[str], done: Ingested, on_file: Callable[[Path], None]
) -> Iterator[Record]:
    for found in walk(root.path, exclude):
        if found.reason:
            done.left_out[display(found.path)] = found.reason
            if found.passing:
                root.unread.append(root.place(found.path))
            continue
        on_file(found.path)
        place = root.place(found.path)
        try:
            pieces = splitter.pieces(found.path, text_of(found.path))
        except (NotReadError, UnreadableError) as error:
            done.left_out[display(found.path)] = str(error)
            if isinstance(error, NotReadError) and error.passing:
                root.unread.append(place)
            continue
        done.files += 1
        for piece in pieces:
            done.found += 1
            key = root.new_key(f"{place}::{piece.name}" if piece.name else place)
            about = {"front_matter": dict(piece.metadata)} if piece.metadata else {}
            metadata = {"path": place, "line": piece.line, "name": piece.name, **about}
            yield Record(key, piece.content, root.origin, piece.kind, piece.language, metadata=metadata)


def _write(records: Records, found: Iterator[Record], origin: str, done: Ingested) -> None:
    """Write page by page, so that neither memory nor a transaction grows with the tree."""
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
