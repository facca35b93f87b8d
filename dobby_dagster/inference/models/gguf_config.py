"""From a GGUF file's metadata to a configuration in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.gguf_header import Array, GgufHeader
from dobby_dagster.inference.models.model_config import ARCHITECTURES
from dobby_dagster.inference.models.rotary_embedding import DEFAULT_THETA

# Below the architecture's name: GGUF's key to the name in config.json.
_FIELDS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_ROTARY = {
    "rope.freq_base": "rope_theta",
    "rope.scaling.type": "rope_type",
    "rope.scaling.factor": "factor",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
    "rope.scaling.attn_factor": "attention_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}
# What follows from other fields, or says nothing about what is computed.
_CHECKED = ("attention.value_length", "rope.dimension_count")
_IGNORED = ("vocab_size", "tensor_data_layout", "rope.scaling.finetuned")
# Llama 3: the frequencies are divided by the numbers of this tensor, which follow from three parameters.
ROTARY_FACTORS = "rope_freqs.weight"
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8_192}
# Single precision's rounding, of a factor or of a base that was stored in it.
_EXACT = 1e-5


def config_fields(header: GgufHeader, file: Path, read: Callable[[str], Any]) -> dict[str, Any]:
    """The fields of a ``config.json``; unvalidated.

    Args:
        header: A checked header.
        file: Named in errors.
        read: Gives a tensor as a NumPy array of float32, by its name in the file.

    Raises:
        ModelError: The model has a feature that is not known here, such as experts.
    """
    architecture = header.metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        return {"model_type": architecture}  # refused by name
    begin = f"{architecture}."
    found = {key.removeprefix(begin): value for key, value in header.metadata.items() if key.startswith(begin)}
    for key, value in found.items():
        if key not in (*_FIELDS, *_ROTARY, *_CHECKED, *_IGNORED) or isinstance(value, Array):
            raise ModelError(f"{file}: {begin}{key} is not supported", hint="use another model")
    fields = {name: found[key] for key, name in _FIELDS.items() if key in found}
    heads, hidden = fields.get("num_attention_heads"), fields.get("hidden_size")
    if isinstance(heads, int) and isinstance(hidden, int) and heads > 0:
        fields.setdefault("head_dim", hidden // heads)
    for key in _CHECKED:
        if found.get(key, fields.get("head_dim")) != fields.get("head_dim"):
            raise ModelError(
                f"{file}: {begin}{key} = {found[key]} is not supported: heads have {fields.get('head_dim')} numbers",
                hint="use another model",
            )
    tensors = header.tensors
    embedding = tensors.get("token_embd.weight")
    return fields | {
        "model_type": architecture,
        "vocab_size": embedding.shape[0] if embedding else 0,
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": architecture == "llama" and "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
        "eos_token_id": header.metadata.get("tokenizer.ggml.eos_token_id"),
        "bos_token_id": header.metadata.get("tokenizer.ggml.bos_token_id"),
        "rope_parameters": _rotary(found, fields, header, file, read),
    }


def _rotary(
    found: dict[str, Any], fields: dict[str, Any], header: GgufHeader, file: Path, read: Callable[[str], Any]
) -> dict[str, Any]:
    rotary = {"rope_theta": DEFAULT_THETA} | {name: found[key] for key, name in _ROTARY.items() if key in found}
    if rotary.get("rope_type", "none") == "none":
        rotary = {"rope_type": "default", "rope_theta": rotary["rope_theta"]}
    place, theta, head_dim = header.tensors.get(ROTARY_FACTORS), rotary["rope_theta"], fields.get("head_dim")
    if place is None or not isinstance(theta, float) or not isinstance(head_dim, int):
        return rotary
    if rotary["rope_type"] == "default" and place.shape == (head_dim // 2,) and theta > 0:
        factors = read(ROTARY_FACTORS)
        llama3 = _LLAMA3 | {"rope_type": "llama3", "factor": float(factors.max())}
        if np.allclose(factors, _llama3_factors(theta, head_dim, float(factors.max())), _EXACT):
            return rotary | llama3
    raise ModelError(
        f"{file}: {ROTARY_FACTORS} scales the rotary embedding in a way that is not supported",
        hint="use a checkpoint in a folder",
    )


def _llama3_factors(theta: float, head_dim: int, factor: float) -> np.ndarray:
    """What Llama 3 divides the frequencies of the rotary embedding by (transformers' ``modeling_rope_utils``)."""
    low, high, original = _LLAMA3.values()
    waves = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((original / waves - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / factor + smooth)
