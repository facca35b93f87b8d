"""A folder's weights, read one by one: checked against the configuration, and dequantized."""

from __future__ import annotations

import math
from typing import Any, Literal

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.dequantization import Dequantizer
from dobby_dagster.inference.models.model_folder import ModelFolder
from dobby_dagster.inference.models.tensor_files import TensorFiles

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
# Older checkpoints hold these, although they follow from the configuration; transformers ignores them too.
_DERIVED = "rotary_emb.inv_freq"


class Checkpoint:
    """Reads weights one by one, in a ``with`` statement; weights that were not read are an error at its end.

    Args:
        folder: A checked folder.
        framework: ``pt`` for tensors of torch, ``np`` for arrays of NumPy.

    Attributes:
        parameters: Weights read so far; scales are not counted.
        tied: Whether the head's matrix is the embedding's, decided as transformers decides it: by the configuration,
            unless the files hold both, and they differ.
    """

    def __init__(self, folder: ModelFolder, framework: Literal["pt", "np"]) -> None:
        self._folder = folder
        self._files = TensorFiles(folder.weights, framework)
        self._numbers = Dequantizer(self._files, folder.scheme)
        self._passed_over = (_DERIVED, *(folder.scheme.caches if folder.scheme else ()))
        self.parameters = 0
        self.tied = False

    def __enter__(self) -> Checkpoint:
        """Open the files.

        Raises:
            ModelError: One can't be read.
        """
        self._files.__enter__()
        if self._folder.config.tie_word_embeddings:
            self._tie()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the files.

        Raises:
            ModelError: A tensor was not read: the checkpoint does not fit the configuration.
        """
        self._files.__exit__()
        unused = self._unused()
        if unused and kind is None:
            more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            raise ModelError(
                f"{self._folder.path}: the model has no place for {unused[0]}{more}, which its files hold",
                hint="use the configuration that the model was trained with",
            )

    def read(self, name: str, *shape: int) -> Any:
        """A tensor as it is stored; dequantized in float32 where it is quantized.

        Raises:
            ModelError: It is missing, can't be read, or its shape does not fit the configuration.
        """
        self._require(name, shape)
        self.parameters += math.prod(shape)
        return self._numbers.value(name)

    def int8(self, name: str, *shape: int) -> tuple[Any, Any] | None:
        """A matrix that is stored in int8, and the scales of its rows: (rows, columns) int8 and (rows, 1) float32.

        None where it is stored otherwise: use :meth:`read`. For arrays of NumPy only.

        Raises:
            ModelError: It is missing, or its shape does not fit the configuration.
        """
        self._require(name, shape)
        found = self._numbers.int8(name)
        if found is not None:
            self.parameters += math.prod(shape)
        return found

    def state(self, dtype: Any) -> dict[str, Any]:
        """All weights by name, in a ``dtype`` of torch, without the tensors that hold their scales.

        Raises:
            ModelError: One can't be read or dequantized.
        """
        numbers = self._numbers
        quantized = [name for name in self._unused() if name.endswith("weight") and numbers.is_quantized(name)]
        values = {name: numbers.value(name).to(dtype) for name in quantized}  # marks their scales as used, too
        return values | {name: numbers.value(name).to(dtype) for name in self._unused()}

    def _tie(self) -> None:
        """Let the head share the embedding's matrix, whichever of the two is stored."""
        places = self._files.places
        if EMBEDDING not in places:
            self._rename(HEAD, EMBEDDING)
        elif HEAD in places and self._equal(EMBEDDING, HEAD):
            self._rename(HEAD, "")
        self.tied = HEAD not in places

    def _rename(self, old: str, new: str) -> None:
        """Rename a weight and the tensors that belong to it; ``""`` removes them."""
        places, begin = self._files.places, old.removesuffix("weight")
        for name in [name for name in places if name.startswith(begin)]:
            place = places.pop(name)
            if new:
                places[new.removesuffix("weight") + name.removeprefix(begin)] = place

    def _equal(self, one: str, other: str) -> bool:
        if self._files.shape(one) != self._files.shape(other):
            return False
        equal = bool((self._numbers.value(one) == self._numbers.value(other)).all())
        self._files.used.clear()
        return equal

    def _require(self, name: str, shape: tuple[int, ...]) -> None:
        if name not in self._files.places:
            raise ModelError(f"{self._folder.path}: weights are missing: {name}", hint="copy it again")
        found = self._files.shape(name)
        if found != shape:
            raise ModelError(
                f"{self._folder.path}: {name} is {found}, but the configuration says {shape}",
                hint="use the configuration that the model was trained with",
            )

    def _unused(self) -> list[str]:
        unused = self._files.places.keys() - self._files.used
        return sorted(name for name in unused if not name.endswith(self._passed_over))
