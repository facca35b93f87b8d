"""A folder's tensors, each checked against the shape that the configuration calls for."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.model_folder import ModelFolder


class Checkpoint:
    """Reads tensors one by one; to be used in a ``with`` statement.

    Args:
        folder: A checked folder.
        framework: ``pt`` for tensors of torch, ``np`` for arrays of NumPy.

    Attributes:
        parameters: Numbers read so far.
    """

    def __init__(self, folder: ModelFolder, framework: Literal["pt", "np"]) -> None:
        self._folder = folder
        self._framework = framework
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        self.parameters = 0

    def __enter__(self) -> Checkpoint:
        """Open the files.

        Raises:
            ModelError: One can't be read.
        """
        try:
            for file in self._folder.weights:
                opened = self._stack.enter_context(safe_open(file, self._framework))
                self._files |= dict.fromkeys(opened.keys(), opened)
        except (SafetensorError, OSError) as error:
            self._stack.close()
            raise ModelError(
                f"{self._folder.path}: the weights can't be read: {error}", hint="copy them again"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    def read(self, name: str, *shape: int) -> Any:
        """A tensor as it is stored.

        Raises:
            ModelError: It is missing, can't be read, or has another shape than the configuration gives it.
        """
        if name not in self._files:
            raise ModelError(f"{self._folder.path}: weights are missing: {name}")
        try:
            tensor = self._files[name].get_tensor(name)
        except SafetensorError as error:
            raise ModelError(f"{self._folder.path}: {name} can't be read: {error}", hint="copy it again") from None
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"{self._folder.path}: {name} is {tuple(tensor.shape)}, but the configuration says {shape}",
                hint="use the configuration that the model was trained with",
            )
        size = 1
        for count in shape:
            size *= count
        self.parameters += size
        return tensor
