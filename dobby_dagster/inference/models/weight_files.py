"""A folder's weight files: which ones, and whether their tensors fit the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_files import is_file, read_json, validated
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.models.tensor_files import read_header, whole_name

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
_LAYER = "model.layers.{}.mlp.up_proj.weight"


class _Index(BaseModel):
    weight_map: Annotated[dict[str, Annotated[str, Field(pattern=r"^[\w.-]+\.safetensors$")]], Field(min_length=1)]


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The weight files, found as transformers does: one file, else the shards that the index names.

    Raises:
        ModelError: There are none, or only pickled ones, whose loading can run code.
    """
    if is_file(folder / FILE):
        return (folder / FILE,)
    if is_file(folder / INDEX):
        names = sorted(set(validated(_Index, read_json(folder / INDEX), folder / INDEX).weight_map.values()))
        for name in names:
            if not is_file(folder / name):
                raise ModelError(f"{folder}: the index names {name!r}, which does not exist", hint="copy it again")
        return tuple(folder / name for name in names)
    pickles = sorted(name for name in os.listdir(folder) if name.endswith(PICKLES))
    if pickles:
        raise ModelError(
            f"{folder} has only pickled weights ({pickles[0]}), which can run code and are never loaded",
            hint="convert them to safetensors",
        )
    raise ModelError(f"{folder} has no model.safetensors")


def read_shapes(files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors by name, after a check of the files' headers.

    Raises:
        ModelError: A file is truncated or not a safetensors file.
    """
    return {whole_name(name): shape for file in files for name, shape in read_header(file).items()}


def check_shapes(found: dict[str, tuple[int, ...]], config: ModelConfig, path: Path) -> None:
    """Check tensors against the configuration, before memory is allocated for such shapes.

    Raises:
        ModelError: Tensors of the model at ``path`` don't fit, or a layer is missing.
    """
    expected = {
        "model.embed_tokens.weight": (config.vocab_size, config.hidden_size),
        "lm_head.weight": (config.vocab_size, config.hidden_size),
        "model.norm.weight": (config.hidden_size,),
        _LAYER.format(0): (config.intermediate_size, config.hidden_size),
        "model.layers.0.self_attn.q_proj.weight": (config.num_heads * config.head_dim, config.hidden_size),
        "model.layers.0.self_attn.k_proj.weight": (config.num_kv_heads * config.head_dim, config.hidden_size),
    }
    for name, size in expected.items():
        if name in found and found[name] != size:
            raise ModelError(
                f"{path}: {name} is {found[name]}, but the configuration says {size}",
                hint="use the configuration that the model was trained with",
            )
    for index in range(config.num_layers):
        if _LAYER.format(index) not in found:
            raise ModelError(f"{path}: weights are missing: {_LAYER.format(index)}", hint="copy it again")
