"""The index of a search by meaning: vectors of the summaries of each batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.records import Record, content_hash, readable_text
from dobby_dagster.domain.scope import BatchId, RecipeId
from dobby_dagster.domain.settings import SearchSettings
from dobby_dagster.inference.embedding.embedder import Embedder
from dobby_dagster.inference.embedding.embedder_choice import embedder_for
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.vectors import DIGEST_BYTES, Summarized, VectorBatch, VectorPage, behind
from dobby_dagster.store.source.source_relation import Source

if TYPE_CHECKING:
    import numpy as np

# Members of a batch whose vectors are one row of the database.
PAGE = 500
# Of a content, so many characters are read.
READ_CHARACTERS = 2_000
# What vectors are made of, and how; another number where that changes.
MIXTURE = 1


def embedding_id(embedder: Embedder) -> str:
    """What decides the vectors of an index: those of two can't be compared."""
    return f"{embedder.revision}.{MIXTURE}"


def batches_behind(store: CozoStore, source: Source, recipe: RecipeId, embedder: Embedder) -> dict[BatchId, int]:
    """The batches whose vectors are missing or out of date, and how many summaries they have."""
    relation = source.settings.relation
    with store.connection.session():
        chunks, indexed = store.vectors.chunks(relation, recipe), store.vectors.batches(relation, recipe)
    return behind(chunks, indexed, embedding_id(embedder))


def index_if_possible(
    store: CozoStore, source: Source, recipe: RecipeId, batch: BatchId, settings: SearchSettings
) -> tuple[int, str]:
    """:func:`index_batch` by the embedding of ``settings``, if there is one; how many vectors, or why there are none.

    An embedding that is missing, or a server that is away, is no reason to fail what has its summaries: a search says
    what is not indexed, and the next update makes up for it.
    """
    try:
        embedder = embedder_for(settings)
        return (index_batch(store, source, recipe, batch, embedder) if embedder else 0), ""
    except ModelError as error:
        return 0, str(error)


def index_batch(store: CozoStore, source: Source, recipe: RecipeId, batch: BatchId, embedder: Embedder) -> int:
    """Store vectors of the current summaries of a batch's members; return how many were made.

    A vector whose record and summary are unchanged is kept. Contents are read a page at a time, and embedded while the
    database is closed.

    Raises:
        ModelError: The embedding can't be used.
    """
    relation, embedding = source.settings.relation, embedding_id(embedder)
    # Counted first: what is committed meanwhile is behind.
    chunks, _ = store.vectors.chunks(relation, recipe).get(batch, (0, 0))
    pages = -(-store.vectors.members(batch) // PAGE)
    made, stamp = 0, hashlib.sha256(embedding.encode())
    for page in range(pages):
        wanted = store.vectors.summarized_in(relation, recipe, batch, page * PAGE, (page + 1) * PAGE)
        before = store.vectors.page(relation, recipe, batch, page, embedding)
        kept = _kept(before, {each.key: each.digest for each in wanted})
        new = [each for each in wanted if each.key not in kept]
        embedded = _embedded(source, new, embedder)
        kept |= embedded
        stored = VectorPage(
            list(kept),
            b"".join(digest for digest, _ in kept.values()),
            b"".join(vector for _, vector in kept.values()),
        )
        if stored != before:
            store.vectors.put_page(relation, recipe, batch, page, embedding, stored)
        for part in ("\0".join(stored.keys).encode("utf-8", "surrogatepass"), stored.digests, stored.vectors):
            stamp.update(part)
        made += len(embedded)
    complete = VectorBatch(embedding, chunks, pages, stamp.hexdigest())
    if store.vectors.batches(relation, recipe).get(batch) != complete:
        store.vectors.put_batch(relation, recipe, batch, complete)
    return made


def _kept(before: VectorPage | None, wanted: dict[str, bytes]) -> dict[str, tuple[bytes, bytes]]:
    """Digest and vector of what is wanted and there already, by key."""
    if before is None or not before.keys:
        return {}
    size = len(before.vectors) // len(before.keys)
    found = {}
    for place, key in enumerate(before.keys):
        digest = before.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]
        if wanted.get(key) == digest:
            found[key] = digest, before.vectors[place * size : (place + 1) * size]
    return found


def _embedded(source: Source, new: Sequence[Summarized], embedder: Embedder) -> dict[str, tuple[bytes, bytes]]:
    """Digest and vector of each of ``new``, by key; none of a record that has changed meanwhile."""
    records = source.get([each.key for each in new]) if new else {}
    present = [
        each for each in new if each.key in records and content_hash(records[each.key].content) == each.content_hash
    ]
    if not present:
        return {}
    from dobby_dagster.search.vector_math import quantized

    rows = quantized(record_vectors(embedder, [records[each.key] for each in present], [each.text for each in present]))
    return {each.key: (each.digest, row.tobytes()) for each, row in zip(present, rows, strict=True)}


def record_vectors(embedder: Embedder, records: Sequence[Record], summaries: Sequence[str]) -> np.ndarray:
    """(records, size) float32 of unit length: of each record's name, summary and content."""
    from dobby_dagster.search.vector_math import mixed

    contents = [(readable_text(record.content) or "")[:READ_CHARACTERS] for record in records]
    parts = {"name": [record.key for record in records], "summary": summaries, "content": contents}
    return mixed({name: embedder.embed(texts) for name, texts in parts.items()})
