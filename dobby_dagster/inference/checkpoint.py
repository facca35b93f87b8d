"""A folder's weights: each checked against the shape that the configuration calls for, dequantized, and used."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.model_folder import ModelFolder
from dobby_dagster.inference.quantization import Scheme
from dobby_dagster.inference.tensor_files import FLOATS, INT8, TensorFiles

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
# Older checkpoints hold these, which follow from the configuration; transformers passes over them too.
_DERIVED = "rotary_emb.inv_freq"


class Checkpoint:
    """Reads weights one by one; to be used in a ``with`` statement, which ends in an error where one was not used.

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
        self._framework = framework
        self._files = TensorFiles(folder.weights, framework)
        self._used: set[str] = set()
        self.parameters = 0
        self.tied = False

    def __enter__(self) -> Checkpoint:
        """Open the files.

        Raises:
            ModelError: One can't be read.
        """
        self._files.__enter__()
        if self._folder.shape.tied:
            self._tie()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the files.

        Raises:
            ModelError: A tensor was not used, which is named: the checkpoint is of another model.
        """
        self._files.__exit__()
        unused = self._unused()
        if unused and kind is None:
            more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            raise self._error(
                f"the model has no place for {unused[0]}{more}, which its files hold",
                "use the configuration that the model was trained with",
            )

    @property
    def names(self) -> list[str]:
        """The weights that are there; scales and what else stores a weight are not among them."""
        return [name for name in self._files.places if name.endswith(("weight", "bias"))]

    def shape(self, name: str) -> tuple[int, ...]:
        """A weight's shape."""
        return self._files.shape(name)

    def read(self, name: str, *shape: int) -> Any:
        """A tensor as it is stored; dequantized in float32 where it is quantized.

        Raises:
            ModelError: It is missing, can't be read, or has another shape than the configuration gives it.
        """
        self._require(name, shape)
        self.parameters += math.prod(shape)
        return self._value(name)

    def int8(self, name: str, *shape: int) -> tuple[Any, Any] | None:
        """A matrix that is stored in int8, and the scales of its rows: (rows, columns) int8 and (rows, 1) float32.

        None where it is stored in another way; :meth:`read` reads that.

        Raises:
            ModelError: It is missing, or has another shape than the configuration gives it.
        """
        self._require(name, shape)
        scheme = self._folder.scheme
        if scheme is None or self._files.dtype(name) != INT8 or self._has(name, scheme.zero_point):
            return None
        scale = self._scale(name, scheme)
        if scale.shape[1] != 1:
            return None
        self.parameters += math.prod(shape)
        return self._stored(name), scale.repeat(shape[0], 0) if len(scale) == 1 else scale

    def state(self, dtype: Any) -> dict[str, Any]:
        """All weights by name, in ``dtype`` (torch's); what stores their scales is left out.

        Raises:
            ModelError: One can't be read or dequantized.
        """
        quantized = [name for name in self._unused() if name.endswith("weight") and not self._is_float(name)]
        values = {name: self._value(name).to(dtype) for name in quantized}  # with their scales, which are then used
        return values | {name: self._value(name).to(dtype) for name in self._unused()}

    def _tie(self) -> None:
        """Make the head the embedding's matrix; only the embedding is left then."""
        places = self._files.places
        if EMBEDDING not in places:
            self._rename(HEAD, EMBEDDING)
        elif HEAD in places and self._alike(EMBEDDING, HEAD):
            self._rename(HEAD, "")
        self.tied = HEAD not in places

    def _rename(self, old: str, new: str) -> None:
        """Rename a weight and all that belongs to it; ``""`` leaves it out."""
        places, begin = self._files.places, old.removesuffix("weight")
        for name in [name for name in places if name.startswith(begin)]:
            place = places.pop(name)
            if new:
                places[new.removesuffix("weight") + name.removeprefix(begin)] = place

    def _alike(self, one: str, other: str) -> bool:
        if self._files.shape(one) != self._files.shape(other):
            return False
        alike = bool((self._value(one) == self._value(other)).all())
        self._used.clear()
        return alike

    def _require(self, name: str, shape: tuple[int, ...]) -> None:
        if name not in self._files.places:
            raise self._error(f"weights are missing: {name}")
        found = self._files.shape(name)
        if found != shape:
            raise self._error(
                f"{name} is {found}, but the configuration says {shape}",
                "use the configuration that the model was trained with",
            )

    def _value(self, name: str) -> Any:
        if self._is_float(name):
            return self._stored(name)
        dtype, scheme = self._files.dtype(name), self._folder.scheme
        if scheme is None:
            raise self._error(
                f"{name} is stored as {dtype}, and config.json has no quantization_config that says how to read it",
                "copy the folder again, or use the checkpoint before it was quantized",
            )
        if dtype not in scheme.dtypes or not name.endswith("weight") or len(self._files.shape(name)) != 2:
            raise self._error(f"{name} is stored as {dtype}, which {scheme.name} does not do")
        value = self._float32(name)
        if self._has(name, scheme.zero_point):
            value = value - self._spread(name, scheme.zero_point, scheme)
        return value * self._scale(name, scheme)

    def _scale(self, name: str, scheme: Scheme) -> Any:
        """What to multiply a quantized weight with: of its shape, or 1 where rows or columns share it."""
        if not self._has(name, scheme.scale):
            raise self._error(f"weights are missing: {_beside(name, scheme.scale)}, the scale of {name}")
        if self._has(name, scheme.layout) and self._stored(_beside(name, scheme.layout)).sum() != 0:
            raise self._error(f"{name} is not stored row by row, which is not supported")
        self._used |= {_beside(name, each) for each in scheme.unused}
        return self._spread(name, scheme.scale, scheme) * scheme.factor

    def _spread(self, name: str, what: str, scheme: Scheme) -> Any:
        """Scales or zero points so that they fit the weight ``name``."""
        rows, columns = self._files.shape(name)
        value = self._float32(_beside(name, what))
        grid = tuple(value.shape)
        if math.prod(grid) == 1:
            return value.reshape(1, 1)
        if grid in ((rows,), (rows, 1)):
            return value.reshape(rows, 1)
        for high, wide in scheme.blocks:
            if grid == (-(-rows // high), -(-columns // wide)):
                return value[np.arange(rows) // high][:, np.arange(columns) // wide]
        raise self._error(f"{_beside(name, what)} is {grid}, which quantization_config does not explain for {name}")

    def _stored(self, name: str) -> Any:
        self._used.add(name)
        return self._files.stored(name)

    def _float32(self, name: str) -> Any:
        self._used.add(name)
        return self._files.float32(name)

    def _is_float(self, name: str) -> bool:
        return self._files.dtype(name) in FLOATS

    def _has(self, name: str, what: str) -> bool:
        return bool(what) and _beside(name, what) in self._files.places

    def _unused(self) -> list[str]:
        scheme = self._folder.scheme
        passed = (_DERIVED, *(scheme.caches if scheme else ()))
        return sorted(name for name in self._files.places if name not in self._used and not name.endswith(passed))

    def _error(self, message: str, hint: str = "copy it again") -> ModelError:
        return ModelError(f"{self._folder.path}: {message}", hint=hint)


def _beside(name: str, what: str) -> str:
    return name.removesuffix("weight") + what
