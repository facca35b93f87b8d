"""Ways of searching, each as a function from a question to keys, the best first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import bm25s
import numpy as np

from bench.search.held_out import Collection
from dobby_dagster.domain.search_words import words
from dobby_dagster.domain.settings import DatabaseSettings, SearchSettings, SourceSettings
from dobby_dagster.inference.embedding.embedder import Embedder
from dobby_dagster.inference.embedding.embedder_choice import embedder_for
from dobby_dagster.search.rank_fusion import fused
from dobby_dagster.search.retrievers import retrievers_for
from dobby_dagster.search.search_records import CANDIDATES
from dobby_dagster.search.vector_index import READ_CHARACTERS
from dobby_dagster.search.vector_math import mixed
from dobby_dagster.store.cozo_store import CozoStore

Way: TypeAlias = Callable[[str], list[str]]


def by_keywords(code: Mapping[str, str]) -> Way:
    """BM25 (bm25s, Lucene's variant) over keys and code, with identifiers split into words.

    Args:
        code: By key.
    """
    keys = list(code)
    index = bm25s.BM25()
    documents = [[*words(key), *words(text)] for key, text in code.items()]
    index.index(documents, show_progress=False)
    known = {word for document in documents for word in document}

    def ranked(text: str) -> list[str]:
        asked = [word for word in words(text) if word in known]
        if not asked:
            return []
        scores = index.get_scores(asked)
        return [keys[place] for place in np.argsort(-scores, kind="stable")[:CANDIDATES] if scores[place] > 0]

    return ranked


def code_vectors(collection: Collection, embedder: Embedder) -> Way:
    """The embedding of keys and code, without summaries."""
    keys = list(collection.pairs)
    code = [pair.code[:READ_CHARACTERS] for pair in collection.pairs.values()]
    rows = mixed({"name": embedder.embed(keys), "content": embedder.embed(code)})

    def ranked(text: str) -> list[str]:
        scores = rows @ embedder.embed([text])[0]
        return [keys[place] for place in np.argsort(-scores, kind="stable")[:CANDIDATES]]

    return ranked


def ways(collection: Collection, settings: SearchSettings) -> dict[str, Way]:
    """All ways, by name; those over summaries are the retrievers of ``dobby search`` and their fusion."""
    store = CozoStore.open(DatabaseSettings(url=collection.url))
    source, recipe = store.source(SourceSettings()), store.recipes.latest()
    text, vector = retrievers_for(store, source, recipe, settings)
    embedder = embedder_for(settings)
    assert embedder is not None

    def together(asked: str) -> list[str]:
        return [hit.key for hit in fused({way.way: way.ranked(asked, CANDIDATES) for way in (text, vector)})]

    return {
        "code: keywords (BM25)": by_keywords({key: pair.code for key, pair in collection.pairs.items()}),
        "code: vectors": code_vectors(collection, embedder),
        "summaries: full text": lambda asked: text.ranked(asked, CANDIDATES),
        "summaries: vectors": lambda asked: vector.ranked(asked, CANDIDATES),
        "summaries: both, as `dobby search`": together,
    }
