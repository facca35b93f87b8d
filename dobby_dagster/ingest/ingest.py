"""Fill Dobby's own relation ``record`` from source trees and text files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dobby_dagster.domain.records import Record
from dobby_dagster.ingest.files import files_of, read_text
from dobby_dagster.ingest.split import split
from dobby_dagster.store.records import Records

PAGE = 500


@dataclass
class Ingested:
    """What one ingestion did."""

    files: int = 0
    found: int = 0
    written: int = 0
    unchanged: int = 0
    deleted: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def ingest(
    records: Records,
    roots: Sequence[Path],
    *,
    limit: int | None = None,
    name: str | None = None,
    exclude: Sequence[str] = (),
    on_file: Callable[[Path], None] = lambda path: None,
) -> Ingested:
    """Read ``roots``, write what is new or changed, and remove what a root no longer holds.

    Args:
        records: Where to.
        roots: Files and folders.
        limit: Keep only so many records: a fixed sample over all of them, so that a larger limit holds a smaller one.
        name: First part of every key; by default the root's own name.
        exclude: Glob patterns; a file whose path below its root matches one is left out.
        on_file: Told of each file that is read.

    Raises:
        SourceError: A root is not there, or its keys are taken by another root.
    """
    done = Ingested()
    for root in roots:
        origin = str(root.resolve())
        prefix = name or root.resolve().name
        keys: set[str] = set()
        found: list[Record] = []
        for record in _records(root, prefix, origin, exclude, done, on_file):
            keys.add(record.key)
            found.append(record)
            if limit is None and len(found) >= PAGE:
                _write(records, found, origin, done)
                found = []
        if limit is not None:
            found = sorted(found, key=lambda r: hashlib.sha256(r.key.encode("utf-8", "replace")).digest())[:limit]
        for begin in range(0, len(found), PAGE):
            _write(records, found[begin : begin + PAGE], origin, done)
        gone = sorted(records.keys_of(origin) - keys)
        records.remove(gone)
        done.deleted += len(gone)
    return done


def _records(
    root: Path,
    prefix: str,
    origin: str,
    exclude: Sequence[str],
    done: Ingested,
    on_file: Callable[[Path], None],
) -> Iterator[Record]:
    for path in files_of(root, exclude):
        on_file(path)
        text, reason = read_text(path)
        if text is None:
            done.left_out[str(path)] = reason
            continue
        done.files += 1
        place = prefix if root.is_file() else f"{prefix}/{path.relative_to(root).as_posix()}"
        for piece in split(path, text):
            done.found += 1
            key = f"{place}::{piece.name}" if piece.name else place
            metadata = {"path": place, "line": piece.line, "name": piece.name}
            yield Record(key, piece.content, origin, piece.kind, piece.language, metadata=metadata)


def _write(records: Records, found: Sequence[Record], origin: str, done: Ingested) -> None:
    written = records.put_changed(found, origin)
    done.written += written
    done.unchanged += len(found) - written
