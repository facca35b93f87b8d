"""The retrievers that are in use for a source."""

from __future__ import annotations

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.search.retriever import Retriever
from dobby_dagster.search.text_retriever import TextRetriever
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source


def retrievers_for(store: CozoStore, source: Source, recipe: RecipeId | None) -> list[Retriever]:
    """Every way in which the records of ``source`` can be found."""
    return [TextRetriever(store, source.settings.relation, recipe)]
