"""A folder's weights as numbers, where several numbers share a word: see :mod:`~.packed_formats`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_tensors import FolderTensors
from dobby_dagster.inference.models.model_source import Framework
from dobby_dagster.inference.models.packed_formats import PackedFormat
from dobby_dagster.inference.models.tensor_files import FLOATS


class PackedTensors(FolderTensors):
    """See :class:`~dobby_dagster.inference.models.model_source.TensorSource`.

    Args:
        files: Checked safetensors files.
        framework: ``pt`` for tensors of torch, ``np`` for arrays of NumPy.
        form: How matrices are packed; all other weights are stored plainly.
    """

    def __init__(self, files: tuple[Path, ...], framework: Framework, form: PackedFormat) -> None:
        super().__init__(files, framework, None)
        self._form = form
        self._framework = framework

    @property
    def names(self) -> set[str]:
        """See :class:`TensorSource`."""
        end = f".{self._form.words}"
        packed = {name.removesuffix(self._form.words) for name in self._files.places if name.endswith(end)}
        return super().names | {f"{name}weight" for name in packed}

    def shape(self, name: str) -> tuple[int, ...]:
        """See :class:`TensorSource`."""
        words = self._beside(name, self._form.words)
        return self._form.whole_shape(self._files.shape(words)) if words in self._files.places else super().shape(name)

    def value(self, name: str) -> Any:
        """See :class:`TensorSource`."""
        if self._beside(name, self._form.words) not in self._files.places:
            return super().value(name)
        parts = {}
        for part in (self._form.words, *self._form.beside):
            stored = self._beside(name, part)
            if stored in self._files.places:
                kind = self._files.dtype(stored)
                if kind not in (*FLOATS, "I32", "I64"):
                    raise ModelError(f"{stored} is stored as {kind}, which {self._form.name} does not allow")
                parts[part] = np.asarray(self._files.float32(stored) if kind in FLOATS else self._files.stored(stored))
        values = self._form.values(name, parts)
        if self._framework == "np":
            return values
        import torch

        return torch.from_numpy(values)

    def bfloat16_place(self, name: str) -> tuple[Path, int] | None:
        """See :class:`TensorSource`."""
        return None if self._beside(name, self._form.words) in self._files.places else super().bfloat16_place(name)

    @staticmethod
    def _beside(name: str, part: str) -> str:
        return name.removesuffix("weight") + part
