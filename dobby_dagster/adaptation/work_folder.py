"""The folder beside the adapted model in which it is made: checkpoints, and the model until it has proved itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.file_lock import sole_holder
from dobby_dagster.domain.filesystem import access_error, kind_of_path
from dobby_dagster.inference.models.folder_files import is_file, read_json
from dobby_dagster.inference.models.model_card import CARD

# The field of a card by which a folder is known as one that `dobby adapt` made.
ADAPTED = "adapted"
_MARK = "adapting.json"
_KEPT_AWAY = "replaced"


@dataclass(frozen=True)
class WorkFolder:
    """Where a model is made, and where it goes.

    Attributes:
        out: The folder of the adapted model.
    """

    out: Path

    @property
    def path(self) -> Path:
        """``.NAME.adapting`` beside ``out``."""
        return self.out.parent / f".{self.out.name}.adapting"

    @property
    def model(self) -> Path:
        """The model that is not known to be better yet."""
        return self.path / "model"

    @property
    def checkpoint(self) -> Path:
        """The tensors of an interrupted training."""
        return self.path / "checkpoint.safetensors"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from making a model for the same folder.

        Raises:
            ModelError: Another process makes one.
            StoreAccessError: The folder above can't be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise access_error(self.path.parent, error) from error
        refusal = ModelError(
            f"another dobby adapt makes '{self.out}'", hint="wait until it ends, or choose another --out"
        )
        with sole_holder(self.path.with_name(f"{self.path.name}.lock"), refusal):
            yield

    def require_free(self, *, force: bool) -> None:
        """Check that ``out`` is free, or an adapted model that may be replaced.

        Raises:
            ModelError: It is something else, or exists and ``force`` is not given.
            StoreAccessError: It can't be looked at.
        """
        for path in (self.out, self.path):
            if kind_of_path(path) not in ("nothing", "a folder"):
                raise ModelError(f"'{path}' is {kind_of_path(path)}", hint="choose another --out")
        if kind_of_path(self.out) == "nothing":
            return
        if not is_file(self.out / CARD) or ADAPTED not in read_json(self.out / CARD):
            raise ModelError(f"'{self.out}' exists, and is no model that dobby adapt made", hint="choose another --out")
        if not force:
            raise ModelError(f"'{self.out}' exists already", hint="--force replaces it")

    def begin(self, task: str) -> bool:
        """Create the folder, or take up an interrupted one; returns whether there is a checkpoint of the same task.

        Args:
            task: Names all that decides the training; what was left of another one is deleted.

        Raises:
            ModelError: Something else is there.
            StoreAccessError: It can't be written.
        """
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            if kind_of_path(self.path) == "a folder":
                if not is_file(self.path / _MARK):
                    raise ModelError(f"'{self.path}' is in the way, and is not dobby's", hint="move it elsewhere")
                if read_json(self.path / _MARK).get("task") == task and self.checkpoint.is_file():
                    return True
                self.delete()
            self.path.mkdir()
            (self.path / _MARK).write_text(json.dumps({"task": task}) + "\n")
        except OSError as error:
            raise access_error(self.path, error) from error
        return False

    def delete(self) -> None:
        """Delete what was made; ``out`` is not touched."""
        if is_file(self.path / _MARK):
            shutil.rmtree(self.path)

    def place(self) -> None:
        """Move the model to ``out`` in one step, and delete the rest.

        Raises:
            StoreAccessError: It can't be moved.
        """
        try:
            for file in sorted(self.model.iterdir()):
                _flush(file)
            if self.out.exists():
                self.out.rename(self.path / _KEPT_AWAY)
            self.model.rename(self.out)
        except OSError as error:
            raise access_error(self.out, error) from error
        self.delete()


def card_of(folder: Path) -> dict[str, Any]:
    """The fields of a folder's card; empty where it has none."""
    return read_json(folder / CARD) if is_file(folder / CARD) else {}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
