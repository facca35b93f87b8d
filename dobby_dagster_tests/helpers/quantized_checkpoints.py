"""Quantized checkpoints, made from plain ones as their makers' libraries store them, with the plain twin of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dobby_dagster_tests.helpers.checkpoints import edit_json, edit_tensors

Stored = dict[str, Tensor]
LINEAR = {"targets": ["Linear"], "input_activations": None}
INT8_CHANNEL = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}


def compressed(form: str, **weights: Any) -> dict[str, Any]:
    group = LINEAR | {"weights": INT8_CHANNEL | weights}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


def int8_rows(weight: Tensor) -> tuple[Stored, Tensor]:
    scale = (weight.abs().amax(1, keepdim=True).clamp(min=1e-6) / 127).bfloat16()
    stored = (weight / scale.float()).round().clamp(-128, 127).to(torch.int8)
    return {"weight": stored, "weight_scale": scale}, stored.float() * scale.float()


def int8_whole(weight: Tensor) -> tuple[Stored, Tensor]:
    scale = (weight.abs().max() / 127).reshape(1)
    stored = (weight / scale).round().to(torch.int8)
    return {"weight": stored, "weight_scale": scale}, stored.float() * scale


def int8_groups(weight: Tensor) -> tuple[Stored, Tensor]:
    parts = weight.unflatten(1, (-1, 16))
    scale = parts.abs().amax(2).clamp(min=1e-6) / 127
    stored = (parts / scale[..., None]).round().to(torch.int8)
    return {"weight": stored.flatten(1), "weight_scale": scale}, (stored.float() * scale[..., None]).flatten(1)


def int8_asymmetric(weight: Tensor) -> tuple[Stored, Tensor]:
    low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    scale = (high - low).clamp(min=1e-6) / 255
    zero = (-128 - low / scale).round().to(torch.int8)
    stored = (weight / scale + zero.float()).round().clamp(-128, 127).to(torch.int8)
    values = (stored.float() - zero.float()) * scale
    return {"weight": stored, "weight_scale": scale, "weight_zero_point": zero}, values


def fp8_whole(weight: Tensor) -> tuple[Stored, Tensor]:
    scale = (weight.abs().max() / 448).reshape(1)
    stored = (weight / scale).to(torch.float8_e4m3fn)
    return {"weight": stored, "weight_scale": scale, "input_scale": torch.ones(1)}, stored.float() * scale


def fp8_rows(weight: Tensor) -> tuple[Stored, Tensor]:
    scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-6) / 448
    stored = (weight / scale).to(torch.float8_e4m3fn)
    return {"weight": stored, "weight_scale": scale}, stored.float() * scale


def fp8_blocks(weight: Tensor) -> tuple[Stored, Tensor]:
    """Blocks of 48 by 32, which leave a rest at the edge."""
    rows, columns = weight.shape
    scale = torch.zeros(-(-rows // 48), -(-columns // 32))
    stored, values = torch.zeros(rows, columns, dtype=torch.float8_e4m3fn), torch.zeros(rows, columns)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            at = slice(48 * i, 48 * i + 48), slice(32 * j, 32 * j + 32)
            scale[i, j] = weight[at].abs().max().clamp(min=1e-6) / 448
            stored[at] = (weight[at] / scale[i, j]).to(torch.float8_e4m3fn)
            values[at] = stored[at].float() * scale[i, j]
    return {"weight": stored, "weight_scale_inv": scale}, values


def bits_and_bytes(weight: Tensor) -> tuple[Stored, Tensor]:
    scale = weight.abs().amax(1).clamp(min=1e-6)
    stored = (weight / scale[:, None] * 127).round().to(torch.int8)
    layout = torch.tensor(0, dtype=torch.uint8)
    return {"weight": stored, "SCB": scale, "weight_format": layout}, stored.float() * scale[:, None] / 127


def words(numbers: Tensor, bits: int, order: Sequence[int] = ()) -> Tensor:
    """Rows of numbers in words of 32 bits, from the lowest bits; ``order``: which of a word's numbers comes first."""
    parts = numbers.long().unflatten(1, (-1, 32 // bits))
    order = order or range(parts.shape[2])
    packed = sum(parts[..., number] << (bits * place) for place, number in enumerate(order))
    return torch.as_tensor(packed).to(torch.int32)


def four_bits(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, zeros and scales of groups of 16 columns: (rows, columns), (rows, groups) and (rows, groups)."""
    parts = weight.unflatten(1, (-1, 16))
    low, high = parts.amin(2).clamp(max=0), parts.amax(2).clamp(min=0)
    scale = ((high - low) / 15).clamp(min=1e-6).half().float()
    zero = (-low / scale).round().clamp(0, 15)
    numbers = (parts / scale[..., None] + zero[..., None]).round().clamp(0, 15)
    return numbers.flatten(1), zero, scale


def whole(numbers: Tensor, zero: Tensor, scale: Tensor, groups: Tensor) -> Tensor:
    return (numbers - zero[:, groups]) * scale[:, groups]


def gptq(weight: Tensor) -> tuple[Stored, Tensor]:
    numbers, zero, scale = four_bits(weight)
    groups = torch.arange(weight.shape[1]) // 16
    order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(0))
    numbers, groups = numbers[:, order], groups[order]  # as after desc_act
    stored = {
        "qweight": words(numbers, 4).T.contiguous(), "qzeros": words((zero.T - 1).long() & 15, 4),
        "scales": scale.T.half().contiguous(), "g_idx": groups.to(torch.int32),
    }  # fmt: skip
    return stored, whole(numbers, zero, scale, groups)


def awq(weight: Tensor) -> tuple[Stored, Tensor]:
    numbers, zero, scale = four_bits(weight)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    stored = {
        "qweight": words(numbers.T, 4, order), "qzeros": words(zero.T, 4, order), "scales": scale.T.half().contiguous(),
    }  # fmt: skip
    return stored, whole(numbers, zero, scale, torch.arange(weight.shape[1]) // 16)


def pack_quantized(weight: Tensor) -> tuple[Stored, Tensor]:
    numbers, zero, scale = four_bits(weight)
    stored = {
        "weight_packed": words(numbers, 4), "weight_shape": torch.tensor(weight.shape), "weight_scale": scale,
        "weight_zero_point": words(zero.T, 4).T.contiguous(),
    }  # fmt: skip
    return stored, whole(numbers, zero, scale, torch.arange(weight.shape[1]) // 16)


PACKED_FORMS = ("gptq", "awq", "pack-quantized")
FORMS: dict[str, tuple[dict[str, Any], Callable[[Tensor], tuple[Stored, Tensor]]]] = {
    "int8 rows": (compressed("int-quantized"), int8_rows),
    "int8 whole": (compressed("int-quantized", strategy="tensor"), int8_whole),
    "int8 groups": (compressed("naive-quantized", strategy="group", group_size=16), int8_groups),
    "int8 asymmetric": (compressed("int-quantized", symmetric=False), int8_asymmetric),
    "fp8 whole": ({"quant_method": "compressed-tensors", "format": "float-quantized"}, fp8_whole),
    "fp8 rows": (compressed("float-quantized", type="float"), fp8_rows),
    "fp8 blocks": ({"quant_method": "fp8", "weight_block_size": [48, 32], "activation_scheme": "dynamic"}, fp8_blocks),
    "fbgemm fp8": ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, fp8_rows),
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": True, "sym": False}, gptq),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 16, "version": "gemm", "zero_point": True}, awq),
    "pack-quantized": (
        compressed("pack-quantized", num_bits=4, strategy="group", group_size=16, symmetric=False),
        pack_quantized,
    ),
    "bitsandbytes": ({"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}, bits_and_bytes),
}


def quantized(folder: Path, form: str, copy: Path, *, embedding: bool = False) -> tuple[Path, Path]:
    """A quantized copy of a checkpoint, its embedding too if asked, and a plain one with the dequantized numbers."""
    config, change = FORMS[form]
    plain: dict[str, Tensor] = {}

    def split(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        stored: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            if not name.endswith("_proj.weight") and not (embedding and "embed_tokens" in name):
                stored[name] = plain[name] = tensor
                continue
            parts, plain[name] = change(tensor.float())
            stored |= {name.removesuffix("weight") + part: value for part, value in parts.items()}
        return stored

    model, twin = (Path(shutil.copytree(folder, copy / name)) for name in ("quantized", "plain"))
    edit_tensors(model, split)
    edit_tensors(twin, lambda _: plain)
    edit_json(model / "config.json", quantization_config=config)
    return model, twin
