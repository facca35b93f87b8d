"""A trained model as a folder that transformers and Dobby read, by safetensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from dobby_dagster.inference.models.checkpoint import HEAD
from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.models.model_folder import ModelFolder

# What is copied from the folder of the base, where it is there.
_COPIED = (
    "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
)  # fmt: skip


def write_trained_folder(weights: Mapping[str, torch.Tensor], base: ModelFolder, out: Path) -> None:
    """Write a folder whose weights are stored as those of ``base`` are: in int8, or else in bfloat16.

    Args:
        weights: By transformers' names.
        base: The model that it was made from: its configuration, its tokenizer and its card.
        out: The folder, which may exist.
    """
    if base.keeps_int8:
        write_int8_folder(weights, base.path, out, base.card)
        return
    fields = {name: value for name, value in base.config_json.items() if name != "quantization_config"}
    tensors = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    _write(tensors, fields | {"dtype": "bfloat16"}, base.path, out, base.card)


def write_int8_folder(
    weights: Mapping[str, torch.Tensor], base: Path, out: Path, card: Mapping[str, Any], **config: Any
) -> None:
    """Write a folder in transformers' layout, its matrices in int8 with a scale for each row (compressed-tensors).

    Args:
        weights: By transformers' names; without a head where it is tied to the embedding.
        base: The folder of the model that it was made from: configuration and tokenizer are those.
        out: The folder, which may exist.
        card: The fields of ``dobby.json``.
        config: Changed fields of ``config.json``.
    """
    fields = json.loads((base / "config.json").read_text()) | config
    numbers = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    fields["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {"targets": ["Linear", "Embedding"], "weights": numbers, "input_activations": None}
        },
        "ignore": [] if HEAD in weights else ["lm_head"],
    }
    tensors: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        tensors |= quantized(name, value.detach().float().cpu())
    _write(tensors, fields, base, out, card)


def _write(
    tensors: dict[str, torch.Tensor], config: Mapping[str, Any], base: Path, out: Path, card: Mapping[str, Any]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n")
    save_file(
        {name: value.contiguous() for name, value in tensors.items()}, out / "model.safetensors", {"format": "pt"}
    )
    for name in _COPIED:
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)


def quantized(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """A matrix as int8 with the scale of each row, its largest number being 127; a vector in bfloat16."""
    if value.ndim == 1:
        return {name: value.to(torch.bfloat16)}
    scale = (value.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127).to(torch.bfloat16)
    whole = (value / scale.float()).round().clamp(-127, 127).to(torch.int8)
    return {name: whole, f"{name.removesuffix('.weight')}.weight_scale": scale}
