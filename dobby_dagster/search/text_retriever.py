"""Full-text retrieval: by the words of keys, summaries and identifiers."""

from __future__ import annotations

from dataclasses import dataclass

from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.search_words import query_words
from dobby_dagster.search.keyword_score import rescored
from dobby_dagster.store.cozo_store import CozoStore

# Of the index's candidates, so many are put in the order of their words in common.
RESCORED = 200


@dataclass(frozen=True, slots=True)
class TextRetriever:
    """Ranks records by the words that they have in common with a text, the rarer the better.

    Args:
        store: Where the documents are.
        relation: The source.
    """

    store: CozoStore
    relation: str
    way: str = "text"

    def ranked(self, text: str, limit: int, prefix: str = "") -> list[str]:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.ranked`."""
        words, documents = query_words(text), self.store.documents
        found = documents.ranked(self.relation, words, max(limit, RESCORED), prefix)
        candidates = documents.words(self.relation, found[:RESCORED])
        best = rescored(words, candidates, documents.frequencies(self.relation))
        return [*best, *found[RESCORED:]][:limit]

    def problem(self) -> str:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.problem`."""
        return ""

    def behind(self) -> str:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.behind`."""
        missing = self.store.documents.unindexed(self.relation)
        return f"{counted(missing, 'record')} not in the full-text index" if missing else ""
