"""A folder's weights as numbers: stored 8-bit weights and their scales, by a :class:`~.quantization.Scheme`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.model_source import Framework
from dobby_dagster.inference.models.quantization import Scheme
from dobby_dagster.inference.models.tensor_files import BF16, FLOATS, INT8, TensorFiles

# Older checkpoints hold these, although they follow from the configuration; transformers ignores them too.
_DERIVED = "rotary_emb.inv_freq"
_KINDS = (".weight", ".bias")


class FolderTensors:
    """See :class:`~dobby_dagster.inference.models.model_source.TensorSource`.

    Args:
        files: Checked safetensors files.
        framework: ``pt`` for tensors of torch, ``np`` for arrays of NumPy.
        scheme: How the weights are quantized; None where they are not.
    """

    def __init__(self, files: tuple[Path, ...], framework: Framework, scheme: Scheme | None) -> None:
        self._files = TensorFiles(files, framework)
        self._scheme = scheme
        self._passed_over = (_DERIVED, *(scheme.caches if scheme else ()))

    def __enter__(self) -> FolderTensors:
        """See :class:`TensorSource`."""
        self._files.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """See :class:`TensorSource`."""
        self._files.__exit__()

    @property
    def names(self) -> set[str]:
        """See :class:`TensorSource`."""
        return {name for name in self._files.places if name.endswith(_KINDS)}

    @property
    def unused(self) -> set[str]:
        """See :class:`TensorSource`."""
        unused = self._files.places.keys() - self._files.used
        return {name for name in unused if not name.endswith(self._passed_over)}

    def shape(self, name: str) -> tuple[int, ...]:
        """See :class:`TensorSource`."""
        return self._files.shape(name)

    def value(self, name: str) -> Any:
        """A weight: as it is stored where it is not quantized, else in float32.

        Raises:
            ModelError: The configuration does not tell how to read it, or its scale is missing.
        """
        if self._files.dtype(name) in FLOATS:
            return self._files.stored(name)
        scheme, dtype = self._scheme, self._files.dtype(name)
        if scheme is None:
            raise ModelError(
                f"{name} is stored as {dtype}, and config.json has no quantization_config that says how to read it",
                hint="copy the folder again, or use the checkpoint before it was quantized",
            )
        if dtype not in scheme.dtypes or not name.endswith("weight") or len(self._files.shape(name)) != 2:
            raise _malformed(f"{name} is stored as {dtype}, which {scheme.name} does not allow")
        value = self._files.float32(name)
        if self._has(name, scheme.zero_point):
            value = value - self._spread(name, scheme.zero_point, scheme)
        return value * self._scale(name, scheme)

    def bfloat16_place(self, name: str) -> tuple[Path, int] | None:
        """See :class:`TensorSource`."""
        return self._files.place(name) if self._files.dtype(name) == BF16 else None

    def int8(self, name: str) -> tuple[Any, Any] | None:
        """A matrix in int8 and the scales of its rows: (rows, columns) int8 and (rows, 1) float32, arrays of NumPy.

        None where it is stored otherwise.

        Raises:
            ModelError: Its scale is missing.
        """
        scheme = self._scheme
        if scheme is None or self._files.dtype(name) != INT8 or self._has(name, scheme.zero_point):
            return None
        scale = self._scale(name, scheme)
        if scale.shape[1] != 1:
            return None
        rows = self._files.shape(name)[0]
        return self._files.stored(name), np.broadcast_to(scale, (rows, 1))

    def _scale(self, name: str, scheme: Scheme) -> Any:
        """The factor of a quantized weight: of its shape, or 1 in a dimension that shares it."""
        if not self._has(name, scheme.scale):
            raise _malformed(f"weights are missing: {_beside(name, scheme.scale)}, the scale of {name}")
        if self._has(name, scheme.layout) and self._files.stored(_beside(name, scheme.layout)).sum() != 0:
            raise _malformed(f"{name} is not stored row by row, which is not supported")
        self._files.used |= {_beside(name, each) for each in scheme.unused}
        return self._spread(name, scheme.scale, scheme) * scheme.factor

    def _spread(self, name: str, what: str, scheme: Scheme) -> Any:
        """Scales or zero points in a shape that broadcasts to that of the weight ``name``."""
        rows, columns = self._files.shape(name)
        value = self._files.float32(_beside(name, what))
        grid = tuple(value.shape)
        if math.prod(grid) == 1:
            return value.reshape(1, 1)
        if grid in ((rows,), (rows, 1)):
            return value.reshape(rows, 1)
        for high, wide in scheme.blocks:
            if grid == (-(-rows // high), -(-columns // wide)):
                return value[np.arange(rows) // high][:, np.arange(columns) // wide]
        raise _malformed(f"{_beside(name, what)} is {grid}, which quantization_config does not explain for {name}")

    def _has(self, name: str, what: str) -> bool:
        return bool(what) and _beside(name, what) in self._files.places


def _beside(name: str, what: str) -> str:
    return name.removesuffix("weight") + what


def _malformed(message: str) -> ModelError:
    return ModelError(message, hint="copy it again")
