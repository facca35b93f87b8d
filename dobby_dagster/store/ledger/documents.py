"""The words of each record that has a summary, and the full-text index over them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.record_counts import RecordCounts
from dobby_dagster.store.ledger.relations import DOCUMENT

PAGE = 2_000
# Documents are counted again after so many seconds at the earliest, if something was written meanwhile.
RECOUNT_SECONDS = 10.0
# Summaries of the present contents of records under a recipe.
_CURRENT = """now[key, content_hash] := key in $keys,
    *dobby_version{source: $source, key, content_hash, deleted @ 'END'}, deleted == false
current[key, content_hash, text] := now[key, content_hash],
    *dobby_summary{source: $source, key, content_hash: summarized, recipe, text},
    summarized == content_hash, recipe == $recipe"""
_MISSING = f"{_CURRENT}\nmissing[key, content_hash, text] := current[key, content_hash, text],\
 not *{DOCUMENT.name}{{source: $source, key, content_hash, recipe: $recipe}}"


class Documents:
    """One document a record: of the summary that was stored last, in the transaction that stored it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counts = RecordCounts(connection)
        # By relation and recipe: the database's clock, this process's, and how many documents were missing.
        self._counted: dict[tuple[str, str], tuple[int, float, int]] = {}

    def ranked(self, relation: str, words: Sequence[str], limit: int) -> list[str]:
        """Up to ``limit`` keys whose documents have any of ``words``, the best first, by tf-idf.

        Args:
            relation: The source.
            words: Of :func:`~dobby_dagster.domain.search_words.query_words`: letters and digits only.
            limit: At most so many.
        """
        query = " OR ".join(f'"{word}"' for word in words if word.isalnum())
        if not query:
            return []
        rows = self._connection.run(
            f"""?[score, key] := ~{DOCUMENT.name}:text{{source, key | query: $query, k: $limit, score_kind: 'tf_idf',
                bind_score: score, filter: source == $source}} :order -score, key""",
            {"query": query, "limit": limit, "source": relation},
        ).rows
        return [row[1] for row in rows]

    def missing(self, relation: str, recipe: RecipeId, keys: Sequence[str]) -> list[tuple[str, str, str]]:
        """Those of ``keys`` whose current summary has no document: key, content hash and summary."""
        query = f"{_MISSING}\n?[key, content_hash, text] := missing[key, content_hash, text]"
        params = {"source": relation, "recipe": recipe, "keys": list(keys)}
        return [(key, content_hash, text) for key, content_hash, text in self._connection.run(query, params).rows]

    def count_missing(self, relation: str, recipe: RecipeId | None) -> int:
        """How many current summaries under ``recipe`` have no document.

        The records are compared page by page. A count is used again as long as nothing was written, and for
        ``RECOUNT_SECONDS`` in any case.
        """
        if recipe is None:
            return 0
        written = self._counts.now()
        before = self._counted.get((relation, recipe))
        if before is not None:
            unchanged = before[0] == written and not before[2]
            if unchanged or time.monotonic() - before[1] < RECOUNT_SECONDS:
                return before[2]
        count = sum(self._count_missing(relation, recipe, keys) for keys in self._counts.key_pages(relation, PAGE))
        self._counted[relation, recipe] = written, time.monotonic(), count
        return count

    def _count_missing(self, relation: str, recipe: RecipeId, keys: list[str]) -> int:
        params = {"source": relation, "recipe": recipe, "keys": keys}
        return int(self._connection.run(f"{_MISSING}\n?[count(key)] := missing[key, _, _]", params).rows[0][0])

    def key_pages(self, relation: str, size: int) -> Iterator[list[str]]:
        """All known keys, in order; the database is closed between two pages."""
        return self._counts.key_pages(relation, size)

    def put(self, relation: str, recipe: RecipeId, documents: Sequence[tuple[str, str, str]]) -> None:
        """Store documents of summaries that are there already.

        Args:
            relation: The source.
            recipe: Of the summaries.
            documents: Key, content hash and words of each; those whose summary is gone meanwhile are not stored.
        """
        rows: list[list[Any]] = [[relation, key, recipe, content_hash, words] for key, content_hash, words in documents]
        there = "*dobby_summary{source, key, content_hash: summarized, recipe: by}, summarized == content_hash, by == recipe"
        self._connection.run(script([DOCUMENT.put(where=there)]), {"rows": rows}, write=True)
        self._counted.clear()
