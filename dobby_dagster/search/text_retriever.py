"""Full-text retrieval: by the words of keys, summaries and identifiers."""

from __future__ import annotations

from dataclasses import dataclass

from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.search_words import query_words
from dobby_dagster.store.cozo_store import CozoStore


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

    def ranked(self, text: str, limit: int) -> list[str]:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.ranked`."""
        return self.store.documents.ranked(self.relation, query_words(text), limit)

    def behind(self) -> str:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.behind`."""
        missing = self.store.documents.unindexed(self.relation)
        return f"{counted(missing, 'record')} not in the full-text index" if missing else ""
