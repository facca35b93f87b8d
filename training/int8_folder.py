"""A trained model as a folder that transformers and Dobby read: int8 with a scale for each row (compressed-tensors)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from training.llama import Llama

# What Dobby reads beside the model: see dobby_dagster/inference/models/model_card.py.
CARD = {
    "description": "SmolLM2-135M-Instruct, cut to fewer layers and tokens and taught one thing: one sentence on what a "
    "piece of code, a file or a short text is.",
    "prompts": ["summary"],
    "max_prompt_tokens": 194,
}


def write_model(model: Llama, base: Path, out: Path) -> None:
    """Write a folder in transformers' layout, its matrices in int8 (see :func:`quantized`)."""
    out.mkdir(parents=True, exist_ok=True)
    config = json.loads((base / "config.json").read_text()) | {"num_hidden_layers": len(model.layers)}
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {"targets": ["Linear", "Embedding"], "weights": weights, "input_activations": None}
        },
        "ignore": ["lm_head"],
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "dobby.json").write_text(json.dumps(CARD, indent=2) + "\n")
    tensors: dict[str, torch.Tensor] = {}
    for name, value in model.named().items():
        tensors |= quantized(name, value.detach().float().cpu())
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)


def quantized(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """A matrix as int8 with the scale of each row, its largest number being 127; a vector in bfloat16."""
    if value.ndim == 1:
        return {name: value.to(torch.bfloat16)}
    scale = (value.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127).to(torch.bfloat16)
    whole = (value / scale.float()).round().clamp(-127, 127).to(torch.int8)
    return {name: whole, f"{name.removesuffix('.weight')}.weight_scale": scale}
