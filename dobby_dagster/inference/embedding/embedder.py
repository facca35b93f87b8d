"""The protocol of an embedding: texts of similar meaning have vectors of small angle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class Embedder(Protocol):
    """Makes vectors of texts."""

    @property
    def revision(self) -> str:
        """What decides the vectors, as SHA-256 in hex; vectors of two revisions can't be compared."""
        ...

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, size) float32: each of length 1, or 0 of a text in which the embedding knows nothing.

        Raises:
            ModelError: The embedding can't be used, or fails.
        """
        ...
