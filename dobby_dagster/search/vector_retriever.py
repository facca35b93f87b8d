"""Retrieval by meaning: records whose vectors are nearest to that of the question."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import SearchSettings
from dobby_dagster.inference.embedding.embedder import Embedder
from dobby_dagster.inference.embedding.embedder_choice import embedder_for
from dobby_dagster.search.vector_index import batches_behind, embedding_id
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

# Where vectors of former summaries leave too few, so many times as many are looked at.
MORE = 4


@dataclass
class VectorRetriever:
    """Ranks records by the cosine of their vectors with that of a text.

    A vector counts only if it is of the record's present content and summary. Where the embedding can't be used,
    nothing is found, and :meth:`problem` says why.

    Args:
        store: Where the vectors are.
        source: Whose records are found.
        recipe: Under which the summaries are.
        settings: Which embedding.
    """

    store: CozoStore
    source: Source
    recipe: RecipeId | None
    settings: SearchSettings
    way: str = "vector"
    _problem: str = field(default="", init=False)

    def ranked(self, text: str, limit: int, prefix: str = "") -> list[str]:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.ranked`."""
        try:
            return self._ranked(text, limit, prefix)
        except ModelError as error:
            self._problem = str(error)
            return []

    def problem(self) -> str:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.problem`."""
        try:
            _ = self._embedder
        except ModelError as error:
            self._problem = str(error)
        return f"no search by meaning: {self._problem}" if self._problem else ""

    def behind(self) -> str:
        """See :meth:`~dobby_dagster.search.retriever.Retriever.behind`."""
        if self.problem() or self._embedder is None or self.recipe is None:
            return ""
        try:
            missing = sum(batches_behind(self.store, self.source, self.recipe, self._embedder).values())
        except ModelError as error:
            self._problem = str(error)
            return ""
        return f"{counted(missing, 'summary')} not in the vector index" if missing else ""

    def _ranked(self, text: str, limit: int, prefix: str) -> list[str]:
        from dobby_dagster.search.loaded_vectors import loaded_vectors

        relation, embedder = self.source.settings.relation, self._embedder
        if embedder is None or self.recipe is None:
            return []
        vectors = loaded_vectors(self.store, relation, self.recipe, embedding_id(embedder))
        if not vectors.keys:
            return []
        question, asked = embedder.embed([text])[0], limit
        while True:
            near = vectors.nearest(question, asked, prefix)
            present = self.store.vectors.summarized(relation, self.recipe, [key for key, _ in near])
            found = [key for key, digest in near if key in present and present[key].digest == digest]
            if len(found) >= limit or len(near) < asked:
                return found[:limit]
            asked *= MORE

    @cached_property
    def _embedder(self) -> Embedder | None:
        return embedder_for(self.settings)
