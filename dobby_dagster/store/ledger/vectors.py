"""Vectors of summaries, in pages of a batch: what a search by meaning reads."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.scope import BatchId, RecipeId
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import VECTOR, VECTOR_BATCH

DIGEST_BYTES = 8
# A summary of the present content of its record.
_CURRENT = """*dobby_version{source: $source, key, content_hash, deleted @ 'END'}, deleted == false,
    *dobby_summary{source: $source, key, content_hash: summarized, recipe, text},
    summarized == content_hash, recipe == $recipe"""


@dataclass(frozen=True, slots=True)
class Summarized:
    """A summary of the present content of a record."""

    key: str
    content_hash: str
    text: str

    @property
    def digest(self) -> bytes:
        """What a vector belongs to: the content and the text of the summary."""
        whole = f"{self.content_hash}\0{self.text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(whole, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """The vectors of one batch.

    Attributes:
        embedding: What made them.
        chunks: How many chunks of the batch were committed when they were made.
        pages: How many pages they are in.
        stamp: Of what the pages hold.
    """

    embedding: str
    chunks: int
    pages: int
    stamp: str


@dataclass(frozen=True, slots=True)
class VectorPage:
    """Vectors of some records of a batch.

    Attributes:
        keys: Of the records.
        digests: :attr:`Summarized.digest` of each, end to end.
        vectors: int8 values of each, end to end.
    """

    keys: list[str]
    digests: bytes
    vectors: bytes


class Vectors:
    """Storing and reading vectors; what they mean is known to :mod:`dobby_dagster.search` only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def summarized_in(self, relation: str, recipe: RecipeId, batch: BatchId, begin: int, end: int) -> list[Summarized]:
        """The current summaries of a batch's members at the positions from ``begin`` up to ``end``, in order."""
        # On the last key column >= leaves out the row that is equal.
        query = f"""?[position, key, content_hash, text] :=
            *dobby_member{{batch: $batch, position, key, content_hash}}, position > $before, position < $end,
            {_CURRENT} :order position"""
        params = {"source": relation, "recipe": recipe, "batch": batch, "before": begin - 1, "end": end}
        return [Summarized(*row[1:]) for row in self._connection.run(query, params).rows]

    def summarized(self, relation: str, recipe: RecipeId, keys: Sequence[str]) -> dict[str, Summarized]:
        """The current summaries of ``keys``, by key."""
        query = f"?[key, content_hash, text] := key in $keys, {_CURRENT}"
        params = {"source": relation, "recipe": recipe, "keys": list(keys)}
        return {row[0]: Summarized(*row) for row in self._connection.run(query, params).rows}

    def batches(self, relation: str, recipe: RecipeId) -> dict[BatchId, VectorBatch]:
        """The batches that have vectors, oldest first."""
        query = f"""?[batch, embedding, chunks, pages, stamp] :=
            *{VECTOR_BATCH.name}{{source: $source, recipe: $recipe, batch, embedding, chunks, pages, stamp}}"""
        rows = self._connection.run(query, {"source": relation, "recipe": recipe}).rows
        return {BatchId(row[0]): VectorBatch(*row[1:]) for row in sorted(rows)}

    def chunks(self, relation: str, recipe: RecipeId) -> dict[BatchId, tuple[int, int]]:
        """How many chunks of each batch are committed, and how many summaries they stored."""
        query = """?[batch, count(chunk), sum(completed)] := *dobby_batch{batch, source: $source},
            *dobby_chunk{batch, recipe: $recipe, chunk, completed}"""
        rows = self._connection.run(query, {"source": relation, "recipe": recipe}).rows
        return {BatchId(batch): (int(chunks), int(completed)) for batch, chunks, completed in rows}

    def members(self, batch: BatchId) -> int:
        """How many members a batch has."""
        rows = self._connection.run("?[members] := *dobby_batch{batch: $batch, members}", {"batch": batch}).rows
        return int(rows[0][0]) if rows else 0

    def page(self, relation: str, recipe: RecipeId, batch: BatchId, page: int, embedding: str) -> VectorPage | None:
        """One page; None where there is none that ``embedding`` made."""
        query = f"""?[keys, digests, vectors] := *{VECTOR.name}{{source: $source, recipe: $recipe, batch: $batch,
            page: $page, embedding: $embedding, keys, digests: d, vectors: v}},
            digests = encode_base64(d), vectors = encode_base64(v)"""
        params = {"source": relation, "recipe": recipe, "batch": batch, "page": page, "embedding": embedding}
        rows = self._connection.run(query, params).rows
        if not rows:
            return None
        keys, digests, vectors = rows[0]
        return VectorPage(list(keys), base64.b64decode(digests), base64.b64decode(vectors))

    def put_page(
        self, relation: str, recipe: RecipeId, batch: BatchId, page: int, embedding: str, stored: VectorPage
    ) -> None:
        """Store a page in place of a former one."""
        row = [relation, recipe, batch, page, embedding, stored.keys, stored.digests, stored.vectors]
        self._connection.run(script([VECTOR.put()]), {"rows": [row]}, write=True)

    def put_batch(self, relation: str, recipe: RecipeId, batch: BatchId, stored: VectorBatch) -> None:
        """Store that the pages of a batch are complete; pages past them are deleted."""
        key = ", ".join(VECTOR.key)
        past = f"source = $source, recipe = $recipe, batch = $batch, *{VECTOR.name}{{{key}}}, page > $last"
        blocks = [VECTOR_BATCH.put(), f"{{ ?[{key}] := {past} {VECTOR.remove} }}"]
        row = [relation, recipe, batch, stored.embedding, stored.chunks, stored.pages, stored.stamp]
        params = {"rows": [row], "source": relation, "recipe": recipe, "batch": batch, "last": stored.pages - 1}
        self._connection.run(script(blocks), params, write=True)


def behind(
    chunks: Mapping[BatchId, tuple[int, int]], indexed: Mapping[BatchId, VectorBatch], embedding: str
) -> dict[BatchId, int]:
    """The batches whose vectors are missing, of another embedding, or older than a chunk: their summaries.

    >>> behind({BatchId("a"): (2, 100), BatchId("b"): (1, 0)}, {}, "e")
    {'a': 100}
    >>> behind({BatchId("a"): (2, 100)}, {BatchId("a"): VectorBatch("e", 1, 1, "")}, "e")
    {'a': 100}
    """
    found = {}
    for batch, (count, completed) in chunks.items():
        stored = indexed.get(batch)
        if completed and (stored is None or stored.embedding != embedding or stored.chunks != count):
            found[batch] = completed
    return found
