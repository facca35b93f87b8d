"""The words of each record that has a summary, and the full-text index over them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.word_frequencies import WordFrequencies
from dobby_dagster.store.cozoscript.script import script, unpack
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.record_counts import RecordCounts
from dobby_dagster.store.ledger.relations import DOCUMENT, UNINDEXED

# Of how many batches, and how many members of each, the sample for word frequencies is.
SAMPLED_BATCHES = 20
SAMPLED_MEMBERS = 40
FREQUENCIES_SECONDS = 600.0


class Documents:
    """One document a record: of the summary that was stored last, in the transaction that stored it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counts = RecordCounts(connection)
        # By relation: when they were estimated, on this process's clock.
        self._frequencies: dict[str, tuple[float, WordFrequencies]] = {}

    def ranked(self, relation: str, words: Sequence[str], limit: int, prefix: str = "") -> list[str]:
        """Up to ``limit`` keys whose documents have any of ``words``, the best first, by tf-idf.

        Words that are in very many documents are not looked up if there are rarer ones. Of a query of such words only,
        the first documents in the order of their keys are found.

        Args:
            relation: The source.
            words: Of :func:`~dobby_dagster.domain.search_words.query_words`: letters and digits only.
            limit: At most so many.
            prefix: Only keys that begin so.
        """
        plain = [word for word in words if word.isalnum()]
        if not plain:
            return []
        frequencies = self.frequencies(relation)
        rarest, *others = frequencies.worth(plain)
        if frequencies.is_too_common(rarest):
            return self._having(relation, rarest, limit, prefix)
        query = " OR ".join(f'"{word}"' for word in (rarest, *others))
        rows = self._connection.run(
            f"""?[score, key] := ~{DOCUMENT.name}:text{{source, key | query: $query, k: $limit, score_kind: 'tf_idf',
                bind_score: score, filter: source == $source && starts_with(key, $prefix)}} :order -score, key""",
            {"query": query, "limit": limit, "source": relation, "prefix": prefix},
        ).rows
        return [row[1] for row in rows]

    def _having(self, relation: str, word: str, limit: int, prefix: str) -> list[str]:
        """The first keys whose documents have exactly ``word``; read until there are ``limit``."""
        query = f"""?[key] := *{DOCUMENT.name}{{source: $source, key, words}},
            str_includes(concat(' ', words, ' '), concat(' ', $word, ' ')), starts_with(concat('', key), $prefix)
            :limit $limit"""  # of a stored key itself, starts_with leaves out the one that is equal
        params = {"source": relation, "word": word, "limit": limit, "prefix": prefix}
        rows = self._connection.run(query, params).rows
        return [row[0] for row in rows]

    def frequencies(self, relation: str) -> WordFrequencies:
        """How common words are in the documents of ``relation``: estimated, and kept for some minutes."""
        estimated, found = self._frequencies.get(relation, (0.0, None))
        if found is None or time.monotonic() - estimated > FREQUENCIES_SECONDS:
            found = self._estimated(relation)
            self._frequencies[relation] = time.monotonic(), found
        return found

    def _estimated(self, relation: str) -> WordFrequencies:
        """From members of some batches, evenly spaced."""
        query = "?[batch, members] := *dobby_batch{batch, source: $source, members}, members > 0"
        batches = self._connection.run(query, {"source": relation}).rows
        chosen = batches[:: max(1, -(-len(batches) // SAMPLED_BATCHES))]
        places = [
            [batch, place]
            for batch, members in chosen
            for place in range(0, members, max(1, -(-members // SAMPLED_MEMBERS)))
        ]
        rows = self._connection.run(
            f"""member[key] := {unpack(["batch", "position"], "places")}, *dobby_member{{batch, position, key}}
            ?[key, words] := member[key], *{DOCUMENT.name}{{source: $source, key, words}}""",
            {"source": relation, "places": places},
        ).rows
        return WordFrequencies.of(sum(members for _, members in batches), [row[1] for row in rows])

    def words(self, relation: str, keys: Sequence[str]) -> dict[str, str]:
        """The words of the documents of ``keys``, in the order of ``keys``."""
        query = f"?[key, words] := key in $keys, *{DOCUMENT.name}{{source: $source, key, words}}"
        found = dict(self._connection.run(query, {"source": relation, "keys": list(keys)}).rows)
        return {key: found[key] for key in keys if key in found}

    def missing(self, relation: str, recipe: RecipeId, keys: Sequence[str]) -> list[tuple[str, str, str]]:
        """Those of ``keys`` whose summary of their present content has no document: key, content hash and summary."""
        query = f"""now[key, content_hash] := key in $keys,
            *dobby_version{{source: $source, key, content_hash, deleted @ 'END'}}, deleted == false
        current[key, content_hash, text] := now[key, content_hash],
            *dobby_summary{{source: $source, key, content_hash: summarized, recipe, text}},
            summarized == content_hash, recipe == $recipe
        has[key] := current[key, content_hash, _], *{DOCUMENT.name}{{source: $source, key, content_hash: indexed, recipe}},
            indexed == content_hash, recipe == $recipe
        ?[key, content_hash, text] := current[key, content_hash, text], not has[key]"""
        params = {"source": relation, "recipe": recipe, "keys": list(keys)}
        return [(key, content_hash, text) for key, content_hash, text in self._connection.run(query, params).rows]

    def unindexed(self, relation: str) -> int:
        """How many records have summaries from before there was an index, and are not indexed since."""
        query = f"?[count(key)] := *{UNINDEXED.name}{{source: $source, key}}"
        return int(self._connection.run(query, {"source": relation}).rows[0][0])

    def key_pages(self, relation: str, size: int) -> Iterator[list[str]]:
        """All known keys, in order; the database is closed between two pages."""
        return self._counts.key_pages(relation, size)

    def put(
        self, relation: str, recipe: RecipeId, documents: Sequence[tuple[str, str, str]], done: Sequence[str]
    ) -> None:
        """Store documents of summaries that are there already.

        Args:
            relation: The source.
            recipe: Of the summaries.
            documents: Key, content hash and words of each; those whose summary is gone meanwhile are not stored.
            done: Keys that don't count as unindexed any more.
        """
        rows: list[list[Any]] = [[relation, key, recipe, content_hash, words] for key, content_hash, words in documents]
        there = "*dobby_summary{source, key, content_hash: summarized, recipe: by}, summarized == content_hash, by == recipe"
        blocks = [DOCUMENT.put(where=there), INDEXED]
        self._connection.run(script(blocks), {"rows": rows, "indexed": [[relation, key] for key in done]}, write=True)


# Takes records, as rows of source and key, off the list of the unindexed.
INDEXED = f"""{{ ?[source, key] := {unpack(UNINDEXED.key, "indexed")}, *{UNINDEXED.name}{{source, key}}
{UNINDEXED.remove} }}"""
