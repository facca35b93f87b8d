"""GGUF files, written from small checkpoints as llama.cpp's converter writes them, by its own package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize

from dobby_dagster.inference.models.gguf_tensors import _INNER, _OUTER

Change = Callable[[GGUFWriter], object]
_BYTE_LEVEL = "qwen2"


def tensor_name(whole: str) -> str:
    """GGUF's name of a tensor of a checkpoint."""
    name, _, kind = whole.rpartition(".")
    outer = {after: before for before, after in _OUTER.items()}
    if name in outer:
        return f"{outer[name]}.{kind}"
    _, _, layer, inner = name.split(".", 3)
    return f"blk.{layer}.{ {after: before for before, after in _INNER.items()}[inner] }.{kind}"


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Llama's queries or keys as llama.cpp's converter stores them."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def write_tensors(writer: GGUFWriter, folder: Path, kind: GGMLQuantizationType) -> None:
    """Matrices in ``kind``, all else in float32."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for whole, values in load_file(folder / "model.safetensors").items():
        values = values.astype(np.float32)
        if config["model_type"] == "llama" and (count := heads.get(whole.split(".")[-2])):
            values = interleaved(values, count)
        stored = kind if values.ndim == 2 else GGMLQuantizationType.F32
        writer.add_tensor(tensor_name(whole), quantize(values, stored), raw_dtype=stored)


def write_config(writer: GGUFWriter, folder: Path) -> None:
    """What ``config.json`` says."""
    config = json.loads((folder / "config.json").read_text())
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def write_tokenizer(writer: GGUFWriter, folder: Path, pre: str = _BYTE_LEVEL) -> None:
    """What ``tokenizer.json`` says, of byte-level BPE."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {token["content"] for token in tokenizer["added_tokens"] if token["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|pad|>"))
    if (folder / "chat_template.jinja").is_file():
        writer.add_chat_template((folder / "chat_template.jinja").read_text())


def as_gguf(
    folder: Path,
    file: Path,
    kind: GGMLQuantizationType = GGMLQuantizationType.F32,
    *,
    tokenizer: Change | None = None,
    change: Change = lambda writer: None,
) -> Path:
    """A checkpoint as a GGUF file; ``tokenizer`` writes another one, and ``change`` what else is in the file."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    writer = GGUFWriter(file, config["model_type"])
    write_config(writer, folder)
    if tokenizer is None:
        write_tokenizer(writer, folder)
    else:
        tokenizer(writer)
    change(writer)
    write_tensors(writer, folder, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
