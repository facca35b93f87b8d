"""The embedding that the settings name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.filesystem import expanded
from dobby_dagster.domain.settings import SearchSettings
from dobby_dagster.inference.embedding.embedder import Embedder
from dobby_dagster.inference.embedding.server_embedding import ServerEmbedder
from dobby_dagster.inference.embedding.static_embedding import StaticEmbedder
from dobby_dagster.inference.models.shipped_models import BUILT_IN_EMBEDDING, SHELVES


@lru_cache(maxsize=4)
def embedder_for(settings: SearchSettings) -> Embedder | None:
    """The embedding of ``settings``, kept for the next call of this process; None where there shall be none.

    Raises:
        ModelError: It can't be used.
    """
    if settings.embedding == "none":
        return None
    if settings.url:
        return ServerEmbedder(settings)
    if settings.embedding != "built-in":
        path = expanded(settings.embedding)
        if not path.is_dir():
            raise ModelError(
                f"there is no embedding '{settings.embedding}'",
                hint='search.embedding is a folder, "built-in" or "none"',
            )
        return StaticEmbedder(path)
    return StaticEmbedder(built_in_embedding(), trusted=True)


def built_in_embedding() -> Path:
    """The folder of the embedding that ships with Dobby.

    Raises:
        ModelError: It is missing.
    """
    for shelf in SHELVES:
        if (shelf / BUILT_IN_EMBEDDING).is_dir():
            return shelf / BUILT_IN_EMBEDDING
    raise ModelError(f"models/{BUILT_IN_EMBEDDING} is missing", hint="install Dobby again")
