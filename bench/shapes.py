"""Models to measure on: the small shipped one, and shapes with random weights and its tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.model_lookup import find_model

# and Qwen2.5-1.5B.
SHAPES = {"17M": (384, 8, 6, 2, 1024), "0.5B": (896, 24, 14, 2, 4864), "1.5B": (1536, 28, 12, 2, 8960)}
BUILT_IN = "built-in"
POSITIONS = 4_608


def folder_of(name: str, place: Path) -> Path:
    """A checkpoint to read, made in ``place`` where it is not there."""
    source, target = find_model(ModelSettings(path=SMALL_MODEL)).path, place / name
    if target.is_dir():
        return target
    if name == BUILT_IN:
        shutil.copytree(source, target)
        return target
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    hidden, layers, heads, kv_heads, intermediate = SHAPES[name]
    config = json.loads((source / "config.json").read_text())
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=config["vocab_size"], hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=kv_heads, intermediate_size=intermediate, max_position_embeddings=POSITIONS,
            tie_word_embeddings=True, eos_token_id=config["eos_token_id"], pad_token_id=0, bos_token_id=None,
            initializer_range=0.05, dtype="bfloat16",
        )
    )  # fmt: skip
    model.to(torch.bfloat16).save_pretrained(target)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / file, target)
    return target


def flops(folder: Path, prompt_tokens: list[int], new: int) -> float:
    """Floating-point operations of a workload: two for each weight and token, and the attention's products.

    2 (layers' weights) (p + n - 1) + 2 vocabulary hidden n + 4 layers heads size (sum of keys that each token sees).
    """
    config = check_folder(folder).config
    heads = config.num_heads * config.head_dim
    layer = config.hidden_size * (2 * heads + 2 * config.num_kv_heads * config.head_dim + 3 * config.intermediate_size)
    total = 0.0
    for prompt in prompt_tokens:
        tokens = prompt + new - 1
        total += 2 * layer * config.num_layers * tokens + 2 * config.vocab_size * config.hidden_size * new
        total += 4 * config.num_layers * heads * tokens * (tokens + 1) / 2
    return total


def gemm_peak(dtype: str) -> float:
    """Floating-point operations a second of the machine's matrix product, by torch with prepacked weights."""
    import time

    import torch

    from dobby_dagster.inference.packed.linear_layer import Linear, can_prepack

    kind = getattr(torch, dtype)
    weight, x = torch.randn(2048, 2048).to(kind), torch.randn(2048, 2048).to(kind)
    linear = Linear(weight, None, prepacked=can_prepack(kind))
    best = float("inf")
    with torch.inference_mode():
        for _ in range(12):
            began = time.perf_counter()
            linear(x)
            best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best
