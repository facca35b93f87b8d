"""A static embedding: a vector for each word piece; a text is the sum of those of its distinct pieces.

The layout of a folder is model2vec's (https://github.com/MinishLab/model2vec): ``tokenizer.json``, and
``model.safetensors`` with ``embeddings`` (pieces, size) and optionally ``weights``, a factor for each piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.local.tokenizer import Tokenizer, tokenizer_of
from dobby_dagster.inference.models.folder_files import digest, require_regular
from dobby_dagster.inference.models.model_source import TokenizerDefinition
from dobby_dagster.inference.models.tensor_files import FLOATS, INT8, TensorFiles, read_header, whole_name
from dobby_dagster.inference.models.tokenizer_files import TOKENIZER, check_tokenizer, read_definition

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = "model.safetensors"
# Of one text, in characters: what is further down says little more.
READ_CHARACTERS = 20_000
# A text's pieces, of a batch at once, in multiples of the vectors' size.
_AT_ONCE = 256


class StaticEmbedder:
    """An embedding in a folder; its files are read by the first text.

    Args:
        folder: Untrusted, but checked: only safetensors, and a tokenizer that was tried in a process of its own.
        trusted: Whether the folder is shipped with Dobby, so that its tokenizer need not be tried.

    Raises:
        ModelError: The folder is not one of a static embedding.
    """

    def __init__(self, folder: Path, *, trusted: bool = False) -> None:
        self._folder = folder
        self._trusted = trusted
        require_regular(folder / WEIGHTS)
        shapes = read_header(folder / WEIGHTS)
        shape = shapes.get("embeddings", ())
        if len(shape) != 2 or not all(shape) or shapes.get("weights", shape[:1]) != shape[:1] or "mapping" in shapes:
            raise ModelError(
                f"{folder} is not a static embedding: {WEIGHTS} must hold embeddings of (pieces, size)",
                hint="search.embedding names a folder in model2vec's layout",
            )
        check_tokenizer(folder, shape[0])

    @cached_property
    def revision(self) -> str:
        """SHA-256 (hex) of the tokenizer and the vectors."""
        files = [digest(self._folder / name) for name in (TOKENIZER, WEIGHTS)]
        return hashlib.sha256(b"static\0" + b"".join(files)).hexdigest()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """See :meth:`~dobby_dagster.inference.embedding.embedder.Embedder.embed`."""
        import numpy as np

        from dobby_dagster.inference.embedding.unit_rows import unit_rows

        vectors, tokenizer = self._vectors, self._tokenizer
        found = np.zeros((len(texts), vectors.shape[1]), np.float32)
        for begin in range(0, len(texts), _AT_ONCE):
            part = [text[:READ_CHARACTERS] for text in texts[begin : begin + _AT_ONCE]]
            for place, ids in enumerate(tokenizer.plain(part), begin):
                if ids:
                    found[place] = vectors[np.unique(ids)].sum(0)
        return unit_rows(found)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        definition = TokenizerDefinition(read_definition(self._folder), {}, "")
        return tokenizer_of(definition, self._folder, self.revision, trusted=self._trusted)

    @cached_property
    def _vectors(self) -> np.ndarray:
        """(pieces, size) float32.

        Raises:
            ModelError: They can't be read, or are not finite.
        """
        import numpy as np

        vectors: np.ndarray
        with TensorFiles((self._folder / WEIGHTS,), "np") as tensors:
            present = [name for name in map(whole_name, ("embeddings", "weights")) if name in tensors.places]
            for name in present:
                if tensors.dtype(name) not in (*FLOATS, INT8):
                    raise ModelError(f"{self._folder}: {name} is of type {tensors.dtype(name)}")
            vectors, *weights = (tensors.float32(name) for name in present)
            for factors in weights:
                vectors *= factors[:, None]
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self._folder / WEIGHTS} has values that are not finite", hint="copy it again")
        return vectors
