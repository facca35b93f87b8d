"""The built-in model as a folder in int8."""

from __future__ import annotations

from pathlib import Path

from dobby_dagster.inference.adaptation.trained_folder import write_int8_folder
from training.llama import Llama

# What Dobby reads beside the model: see dobby_dagster/inference/models/model_card.py.
CARD = {
    "description": "SmolLM2-135M-Instruct, cut to fewer layers and tokens and taught one thing: one sentence on what a "
    "piece of code, a file or a short text is.",
    "prompts": ["summary"],
    "max_prompt_tokens": 194,
}


def write_model(model: Llama, base: Path, out: Path) -> None:
    """Write a folder in transformers' layout, its matrices in int8."""
    write_int8_folder(model.named(), base, out, CARD, num_hidden_layers=len(model.layers))
