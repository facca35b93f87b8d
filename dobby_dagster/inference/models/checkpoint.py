"""A model's weights, read one by one: checked against the configuration, and dequantized."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.model_source import Framework, ModelSource

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class Checkpoint:
    """Reads weights one by one, in a ``with`` statement; weights that were not read are an error at its end.

    Args:
        source: A checked model.
        framework: ``pt`` for tensors of torch, ``np`` for arrays of NumPy.

    Attributes:
        parameters: Weights read so far; scales are not counted.
        tied: Whether the head's matrix is the embedding's, decided as transformers decides it: by the configuration,
            unless the files hold both, and they differ.
    """

    def __init__(self, source: ModelSource, framework: Framework) -> None:
        self._source = source
        self._tensors = source.tensors(framework)
        self._names: dict[str, str] = {}  # by a weight's name in the model, its name in the files
        self.parameters = 0
        self.tied = False

    def __enter__(self) -> Checkpoint:
        """Open the files.

        Raises:
            ModelError: One can't be read.
        """
        self._tensors.__enter__()
        self._names = {name: name for name in self._tensors.names}
        if self._source.config.tie_word_embeddings:
            self._tie()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the files.

        Raises:
            ModelError: A tensor was not read: the checkpoint does not fit the configuration.
        """
        unused = sorted(self._tensors.unused)
        self._tensors.__exit__()
        if unused and kind is None:
            more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            raise ModelError(
                f"{self._source.path}: the model has no place for {unused[0]}{more}, which its files hold",
                hint="use the configuration that the model was trained with",
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all weights, by name."""
        return {name: self._tensors.shape(stored) for name, stored in self._names.items()}

    def read(self, name: str, *shape: int) -> Any:
        """A tensor as it is stored; dequantized in float32 where it is quantized.

        Raises:
            ModelError: It is missing, can't be read, or its shape does not fit the configuration.
        """
        stored = self._stored(name, shape)
        self.parameters += math.prod(shape)
        return self._tensors.value(stored)

    def int8(self, name: str, *shape: int) -> tuple[Any, Any] | None:
        """A matrix that is stored in int8, and the scales of its rows: (rows, columns) int8 and (rows, 1) float32.

        None where it is stored otherwise: use :meth:`read`. For arrays of NumPy only.

        Raises:
            ModelError: It is missing, or its shape does not fit the configuration.
        """
        found = self._tensors.int8(self._stored(name, shape))
        if found is not None:
            self.parameters += math.prod(shape)
        return found

    def bfloat16_place(self, name: str, *shape: int) -> tuple[Path, int] | None:
        """The file and offset of a matrix that is stored in rows of bfloat16.

        None where it is stored otherwise: use :meth:`read`.

        Raises:
            ModelError: It is missing, or its shape does not fit the configuration.
        """
        found = self._tensors.bfloat16_place(self._stored(name, shape))
        if found is not None:
            self.parameters += math.prod(shape)
        return found

    def state(self, dtype: Any) -> dict[str, Any]:
        """All weights by name, in a ``dtype`` of torch, without the tensors that hold their scales.

        Raises:
            ModelError: One can't be read or dequantized.
        """
        return {name: self._tensors.value(stored).to(dtype) for name, stored in sorted(self._names.items())}

    def _tie(self) -> None:
        """Let the head share the embedding's matrix, whichever of the two is stored."""
        names = self._names
        if EMBEDDING not in names and HEAD in names:
            names[EMBEDDING] = names.pop(HEAD)
        elif HEAD in names and self._equal(EMBEDDING, HEAD):
            del names[HEAD]
        self.tied = HEAD not in names

    def _equal(self, one: str, other: str) -> bool:
        tensors = self._tensors
        return tensors.shape(one) == tensors.shape(other) and bool((tensors.value(one) == tensors.value(other)).all())

    def _stored(self, name: str, shape: tuple[int, ...]) -> str:
        """A weight's name in the files, after a check of its shape."""
        if name not in self._names:
            raise ModelError(f"{self._source.path}: weights are missing: {name}", hint="copy it again")
        found = self._tensors.shape(self._names[name])
        if found != shape:
            raise ModelError(
                f"{self._source.path}: {name} is {found}, but the configuration says {shape}",
                hint="use the configuration that the model was trained with",
            )
        return self._names[name]
