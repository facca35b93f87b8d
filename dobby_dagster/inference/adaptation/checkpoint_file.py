"""A training run's state in one safetensors file: tensors, and what JSON can hold in its header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dobby_dagster.domain.errors import ModelError

_FIELD = "progress"


def save_checkpoint(file: Path, tensors: dict[str, torch.Tensor], progress: dict[str, Any]) -> None:
    """Replace ``file`` atomically."""
    draft = file.with_suffix(".part")
    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(whole, draft, metadata={_FIELD: json.dumps(progress)})
    os.replace(draft, file)


def read_checkpoint(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What :func:`save_checkpoint` wrote.

    Raises:
        ModelError: The file is damaged.
    """
    try:
        with safe_open(file, "pt") as opened:
            progress = json.loads((opened.metadata() or {})[_FIELD])
            return {name: opened.get_tensor(name) for name in opened.keys()}, dict(progress)  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"'{file}' is damaged: {error}", hint=f"delete {file.parent} and start again") from None
