"""The retrievers that are in use for a source."""

from __future__ import annotations

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import SearchSettings
from dobby_dagster.search.retriever import Retriever
from dobby_dagster.search.text_retriever import TextRetriever
from dobby_dagster.search.vector_retriever import VectorRetriever
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source


def retrievers_for(
    store: CozoStore, source: Source, recipe: RecipeId | None, settings: SearchSettings | None = None
) -> list[Retriever]:
    """Every way in which the records of ``source`` can be found.

    Args:
        store: Where the indexes are.
        source: The records.
        recipe: Under which the summaries are.
        settings: Which embedding makes the vectors; by default the built-in one.
    """
    settings = settings or SearchSettings()
    text = TextRetriever(store, source.settings.relation)
    if settings.embedding == "none":
        return [text]
    return [text, VectorRetriever(store, source, recipe, settings)]
