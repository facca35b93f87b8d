"""safetensors files: headers, checked before a library opens the file, and tensors as arrays.

The layout is 8 bytes of header length, a JSON header with the tensors' offsets, then the data
(https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, NonNegativeInt, TypeAdapter

from dobby_dagster.domain.errors import ModelError

# Enough for a hundred thousand tensors, at about a hundred bytes each.
LARGEST_HEADER_BYTES = 10_000_000
INT8, FP8, BF16 = "I8", "F8_E4M3", "BF16"
FLOATS = ("F64", "F32", "F16", BF16)


class _Entry(BaseModel):
    dtype: str
    shape: list[NonNegativeInt]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


_HEADER = TypeAdapter(dict[str, _Entry])


def read_header(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors, by name, after a check of the header and of the file's length.

    Raises:
        ModelError: The file is truncated or not a safetensors file.
    """
    begin, entries = _header(file)
    size = file.stat().st_size
    expected = begin + max((entry.data_offsets[1] for entry in entries.values()), default=0)
    if size != expected:
        raise ModelError(f"{file} is truncated: {size:,} of {expected:,} bytes", hint="copy it again")
    return {name: tuple(entry.shape) for name, entry in entries.items()}


def _header(file: Path) -> tuple[int, dict[str, _Entry]]:
    """The offset of the data, and the entry of each tensor."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelError(f"{file} is truncated or not a safetensors file ({size:,} bytes)", hint="copy it again")
        if length > LARGEST_HEADER_BYTES:
            raise ModelError(
                f"{file} has a header of {length:,} bytes; {LARGEST_HEADER_BYTES:,} are allowed", hint="copy it again"
            )
        try:
            found = json.loads(stream.read(length))
            found.pop("__metadata__", None)
            return 8 + length, _HEADER.validate_python(found)
        except (ValueError, TypeError, AttributeError, RecursionError):  # a ValidationError is a ValueError
            raise ModelError(f"{file} is not a safetensors file: malformed header", hint="copy it again") from None


class TensorFiles:
    """Reads tensors from files, in a ``with`` statement.

    Args:
        files: Checked files.
        framework: ``pt`` for tensors of torch, ``np`` for arrays of NumPy.

    Attributes:
        places: By a tensor's name in a whole model: the opened file, its path, and the tensor's name there.
        used: Names of tensors that were read.
    """

    def __init__(self, files: tuple[Path, ...], framework: Literal["pt", "np"]) -> None:
        self._files = files
        self._framework = framework
        self._stack = ExitStack()
        self.places: dict[str, tuple[Any, Path, str]] = {}
        self.used: set[str] = set()

    def __enter__(self) -> TensorFiles:
        """Open the files.

        Raises:
            ModelError: A file can't be read, or a tensor is stored twice.
        """
        from safetensors import SafetensorError, safe_open

        if self._framework == "np":
            import ml_dtypes  # noqa: F401  # gives NumPy its bfloat16

        with ExitStack() as stack:
            for file in self._files:
                try:
                    opened = stack.enter_context(safe_open(file, self._framework))
                except (SafetensorError, OSError) as error:
                    raise ModelError(f"{file} can't be read: {error}", hint="copy it again") from None
                for name in opened.keys():  # noqa: SIM118  # not a mapping
                    if whole_name(name) in self.places:
                        raise ModelError(f"{file}: {name} is stored twice", hint="copy the weights again")
                    self.places[whole_name(name)] = (opened, file, name)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    def dtype(self, name: str) -> str:
        """The type that a tensor is stored in, by safetensors' name, such as ``BF16``."""
        opened, _, inner = self.places[name]
        return str(opened.get_slice(inner).get_dtype())

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        opened, _, inner = self.places[name]
        return tuple(opened.get_slice(inner).get_shape())

    def stored(self, name: str) -> Any:
        """A tensor as it is stored.

        Raises:
            ModelError: It can't be read.
        """
        from safetensors import SafetensorError

        opened, file, inner = self.places[name]
        self.used.add(name)
        try:
            return opened.get_tensor(inner)
        except SafetensorError as error:
            raise ModelError(f"{file}: {inner} can't be read: {error}", hint="copy it again") from None

    def place(self, name: str) -> tuple[Path, int]:
        """The file that a tensor is in, and where in it the tensor begins, in bytes."""
        _, file, inner = self.places[name]
        self.used.add(name)
        begin, entries = _header(file)
        return file, begin + entries[inner].data_offsets[0]

    def float32(self, name: str) -> Any:
        """A tensor converted to float32.

        Raises:
            ModelError: It can't be read.
        """
        if self._framework == "pt":
            return self.stored(name).float()
        import numpy as np

        return (self._fp8(name) if self.dtype(name) == FP8 else self.stored(name)).astype(np.float32)

    def _fp8(self, name: str) -> Any:
        """A tensor in float8, which the library can't give as an array of NumPy."""
        import ml_dtypes
        import numpy as np

        file, offset = self.place(name)
        return np.memmap(file, ml_dtypes.float8_e4m3fn, "r", offset, self.shape(name))


def whole_name(name: str) -> str:
    """A tensor's name in a causal language model: base models are saved without the prefix ``model.``.

    >>> whole_name("layers.0.mlp.up_proj.weight"), whole_name("lm_head.weight")
    ('model.layers.0.mlp.up_proj.weight', 'lm_head.weight')
    """
    if name.startswith("model.lm_head."):
        return name.removeprefix("model.")
    return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"
