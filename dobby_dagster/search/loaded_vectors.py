"""The vectors of a source in memory, kept by the process, and read again only where they have changed.

A process holds few of them: an agent server or Dagster lives for weeks, in which recipes and embeddings come and go.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np

from dobby_dagster.domain.scope import BatchId, RecipeId
from dobby_dagster.search.vector_math import best, cosines, lengths
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.vectors import DIGEST_BYTES, VectorBatch, VectorPage

# Of one database, the vectors of so many pairs of recipe and embedding are kept: two that are compared, or two sources.
HELD = 2


@dataclass(frozen=True, slots=True)
class _BatchRows:
    """The rows of one batch: keys, digests, and int8 vectors of shape (rows, size)."""

    stamp: str
    keys: list[str]
    digests: list[bytes]
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class LoadedVectors:
    """Vectors of one embedding, one a record: that of the latest batch.

    Attributes:
        keys: Of the records.
        digests: What each vector was made of.
        rows: (records, size) int8.
        row_lengths: (records,) float32.
    """

    batches: Mapping[BatchId, _BatchRows]
    keys: list[str]
    digests: list[bytes]
    rows: np.ndarray
    row_lengths: np.ndarray

    def nearest(self, query: np.ndarray, limit: int, prefix: str = "") -> list[tuple[str, bytes]]:
        """Up to ``limit`` keys with their digests, the nearest first; only those that are near enough.

        Args:
            query: (size,) float32 of unit length; nothing is near to one of another size.
            limit: At most so many.
            prefix: Only keys that begin so.
        """
        if self.rows.shape[1] != len(query):
            return []
        scores = cosines(self.rows, self.row_lengths, query)
        if prefix:
            scores[[not key.startswith(prefix) for key in self.keys]] = -1
        places = best(scores, limit)
        return [(self.keys[place], self.digests[place]) for place in places]


@dataclass(slots=True)
class _Held:
    """What is kept of one database, that used last at the end; the lock lets one thread at a time read more."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: dict[tuple[str, RecipeId, str], LoadedVectors] = field(default_factory=dict)


_LOCK = threading.Lock()
_HELD: WeakKeyDictionary[CozoStore, _Held] = WeakKeyDictionary()


def loaded_vectors(store: CozoStore, relation: str, recipe: RecipeId, embedding: str) -> LoadedVectors:
    """The vectors of a source as they are stored now; the first call of a process reads all of them."""
    with _LOCK:
        held = _HELD.setdefault(store, _Held())
    with held.lock:
        before = held.loaded.pop((relation, recipe, embedding), None)
        stored = {b: v for b, v in store.vectors.batches(relation, recipe).items() if v.embedding == embedding}
        stamps = {batch: vectors.stamp for batch, vectors in stored.items()}
        if before is None or {batch: rows.stamp for batch, rows in before.batches.items()} != stamps:
            known = before.batches if before else {}
            before = _joined(
                {
                    batch: known[batch]
                    if batch in known and known[batch].stamp == vectors.stamp
                    else _read(store, relation, recipe, batch, vectors)
                    for batch, vectors in stored.items()
                }
            )
        held.loaded[relation, recipe, embedding] = before
        for former in list(held.loaded)[:-HELD]:
            del held.loaded[former]
        return before


def _read(store: CozoStore, relation: str, recipe: RecipeId, batch: BatchId, stored: VectorBatch) -> _BatchRows:
    """The pages whose vectors have the size of most; another one is damaged, and its records not found by meaning."""
    pages: list[tuple[int, VectorPage]] = []
    sizes: Counter[int] = Counter()
    for number in range(stored.pages):
        page = store.vectors.page(relation, recipe, batch, number, stored.embedding)
        if page is None or not page.keys:
            continue
        size, odd = divmod(len(page.vectors), len(page.keys))
        if not odd and len(page.digests) == DIGEST_BYTES * len(page.keys):
            pages.append((size, page))
            sizes[size] += len(page.keys)
    usual = max(sizes, key=sizes.__getitem__, default=0)
    kept = [page for size, page in pages if size == usual]
    keys = [key for page in kept for key in page.keys]
    digests = b"".join(page.digests for page in kept)
    rows = np.frombuffer(b"".join(page.vectors for page in kept), np.int8).reshape(len(keys), usual)
    split = [bytes(digests[begin : begin + DIGEST_BYTES]) for begin in range(0, len(digests), DIGEST_BYTES)]
    return _BatchRows(stored.stamp, keys, split, rows)


def _joined(batches: Mapping[BatchId, _BatchRows]) -> LoadedVectors:
    """One row a key: of the batches that have it, the latest one's. Batches of another size than most are damaged."""
    sizes: Counter[int] = Counter()
    for each in batches.values():
        sizes[each.rows.shape[1]] += len(each.keys)
    size = max(sizes, key=sizes.__getitem__, default=0)
    filled = [rows for rows in batches.values() if rows.keys and rows.rows.shape[1] == size]
    keys = [key for rows in filled for key in rows.keys]
    digests = [digest for rows in filled for digest in rows.digests]
    rows = np.concatenate([each.rows for each in filled]) if filled else np.zeros((0, 0), np.int8)
    latest = {key: place for place, key in enumerate(keys)}
    if len(latest) < len(keys):
        places = sorted(latest.values())
        keys, digests, rows = [keys[p] for p in places], [digests[p] for p in places], rows[places]
    return LoadedVectors(batches, keys, digests, rows, lengths(rows))
