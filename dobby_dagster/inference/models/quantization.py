"""Quantized checkpoints: which formats can be dequantized exactly, and by which tensors. No arithmetic here.

Three formats store 8-bit weights and scales: compressed-tensors, Hugging Face's fp8
(and fbgemm_fp8), and bitsandbytes int8. Three pack numbers of a few bits into words: GPTQ, AWQ, and compressed-tensors.
Everything else is refused by name. Activations are never quantized.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PositiveInt, ValidationError

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.packed_formats import AWQ, GPTQ, GPTQ_V2, PACK_QUANTIZED, PackedFormat
from dobby_dagster.inference.models.tensor_files import FP8, INT8

# Keys in config.json; the second is of older compressed-tensors.
QUANTIZED = ("quantization_config", "compression_config")
_BITS = (2, 4, 8)
_COMPRESSED_FORMATS = ("int-quantized", "float-quantized", "naive-quantized", "dense")
_HINT = "fetch the checkpoint before it was quantized, or as GGUF, GPTQ, AWQ, or compressed-tensors in int8 or fp8"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A weight ``X.weight`` is ``(stored - X.zero_point) * X.scale * factor``.

    Attributes:
        name: Of the format, for people.
        dtypes: Types that weights may be stored in, by safetensors' names.
        scale, zero_point: Names of these tensors, in place of ``weight``; ``""`` where there are no zero points.
        factor: Every scale is multiplied by it.
        blocks: Sizes (rows, columns) of blocks that may share a scale, in addition to a row and the whole matrix.
        layout: The name of a number that is 0 where weights are stored row by row; others are not supported.
        unused: Names of activations' scales, which are ignored: activations are not quantized here.
        caches: Suffixes of the names of scales for keys and values, which are ignored too.
        int8_rows: Whether all weights are in int8 with a scale for each row or matrix, without zero points.
    """

    name: str
    dtypes: tuple[str, ...]
    scale: str
    zero_point: str = ""
    factor: float = 1.0
    blocks: tuple[tuple[int, int], ...] = ()
    layout: str = ""
    unused: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    int8_rows: bool = False


class _Weights(BaseModel):
    """How one group of layers is quantized by compressed-tensors."""

    num_bits: int = 8
    type: str = "int"
    symmetric: bool = True
    group_size: int | None = None
    block_structure: tuple[PositiveInt, PositiveInt] | None = None


class _Group(BaseModel):
    weights: _Weights | None = None
    format: str | None = None


class _CompressedTensors(BaseModel):
    format: str = "dense"
    config_groups: dict[str, _Group | list[str]] = {}
    sparsity_config: dict[str, Any] | None = None
    transform_config: dict[str, Any] | None = None


class _Fp8(BaseModel):
    weight_block_size: tuple[PositiveInt, PositiveInt] | None = (128, 128)
    scale_fmt: str = "float"


class _Packed(BaseModel):
    """GPTQ and AWQ."""

    bits: int = 4
    group_size: Annotated[int, Field(ge=-1)] = 128
    checkpoint_format: str = "gptq"
    is_marlin_format: bool = False
    version: str = "gemm"
    zero_point: bool = True


class _BitsAndBytes(BaseModel):
    load_in_8bit: bool = False
    load_in_4bit: bool = False


def scheme_of(config: Mapping[str, Any], folder: Path) -> Scheme | PackedFormat | None:
    """How the weights of a folder are quantized, from its ``config.json``; None where they are not.

    Raises:
        ModelError: In a format that can't be dequantized exactly.
    """
    found = next((config[name] for name in QUANTIZED if config.get(name)), None)
    if not found:
        return None
    fields = found if isinstance(found, dict) else {}
    method = str(fields.get("quant_method") or "")
    if not method and ("load_in_8bit" in fields or "load_in_4bit" in fields):
        method = "bitsandbytes"
    known = {
        "compressed-tensors": _compressed_tensors, "fp8": _fp8, "fbgemm_fp8": _fbgemm_fp8,
        "bitsandbytes": _bits_and_bytes, "gptq": _gptq, "awq": _awq,
    }  # fmt: skip
    try:
        if method not in known:
            raise _refusal(folder, method or repr(found))
        return known[method](fields, folder)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("quantization_config", *first["loc"]))
        raise ModelError(f"{folder}/config.json: {where} is invalid: {first['msg']}", hint="copy it again") from None


def _compressed_tensors(found: dict[str, Any], folder: Path) -> Scheme | PackedFormat:
    config = _CompressedTensors.model_validate(found)
    groups = [group for group in config.config_groups.values() if isinstance(group, _Group)]
    if (config.transform_config or {}).get("config_groups"):
        raise _refusal(folder, "compressed-tensors with transforms")
    own = [group.format for group in groups if group.format]
    if set(own or [config.format]) == {"pack-quantized"}:
        return _pack_quantized(groups, folder)
    for form in own if config.format == "mixed-precision" else [config.format, *own]:
        if form not in _COMPRESSED_FORMATS:
            raise _refusal(folder, f"compressed-tensors {form}")
    sparse = (config.sparsity_config or {}).get("format", "dense")
    if sparse != "dense":
        raise _refusal(folder, f"compressed-tensors {sparse}")
    return Scheme(
        f"compressed-tensors {config.format}",
        (INT8, FP8),
        scale="weight_scale",
        zero_point="weight_zero_point",
        blocks=tuple(_blocks(groups)),
        unused=("input_scale", "input_zero_point", "output_scale", "output_zero_point"),
        caches=("self_attn.q_scale", "self_attn.k_scale", "self_attn.v_scale"),
        int8_rows=bool(groups) and all(_is_int8_rows(group.weights) for group in groups),
    )


def _is_int8_rows(weights: _Weights | None) -> bool:
    return (
        weights is not None
        and (weights.type, weights.num_bits, weights.symmetric) == ("int", 8, True)
        and not weights.block_structure
        and (weights.group_size or 0) <= 0
    )


def _pack_quantized(groups: list[_Group], folder: Path) -> PackedFormat:
    """All groups of layers have to be packed alike."""
    ways = {(each.num_bits, each.type, max(0, each.group_size or 0)) for group in groups if (each := group.weights)}
    bits, kind, group_size = next(iter(ways), (0, "", 0))
    if len(ways) != 1 or bits not in _BITS or kind != "int":
        raise _refusal(folder, f"compressed-tensors pack-quantized in {bits} bits of {len(ways)} kinds")
    return replace(PACK_QUANTIZED, bits=bits, group_size=group_size)


def _gptq(found: dict[str, Any], folder: Path) -> PackedFormat:
    config = _Packed.model_validate(found)
    known = {"gptq": GPTQ, "gptq_v2": GPTQ_V2}
    form = known.get(config.checkpoint_format)
    if form is None or config.bits not in _BITS or config.is_marlin_format:
        layout = "marlin" if config.is_marlin_format else config.checkpoint_format
        raise _refusal(folder, f"gptq in {config.bits} bits, stored as {layout}")
    return replace(form, bits=config.bits, group_size=max(0, config.group_size))


def _awq(found: dict[str, Any], folder: Path) -> PackedFormat:
    config = _Packed.model_validate(found)
    if config.version.lower() != "gemm" or config.bits != 4 or not config.zero_point:
        raise _refusal(folder, f"awq {config.version} in {config.bits} bits")
    return replace(AWQ, group_size=max(0, config.group_size))


def _blocks(groups: list[_Group]) -> Iterator[tuple[int, int]]:
    for group in groups:
        if group.weights and group.weights.block_structure:
            yield group.weights.block_structure
        elif group.weights and (group.weights.group_size or 0) > 0:
            yield (1, group.weights.group_size or 0)


def _fp8(found: dict[str, Any], folder: Path) -> Scheme:
    config = _Fp8.model_validate(found)
    if config.scale_fmt != "float":
        raise _refusal(folder, f"fp8 with scales in {config.scale_fmt}")
    blocks = (config.weight_block_size,) if config.weight_block_size else ()
    return Scheme("fp8", (FP8,), scale="weight_scale_inv", blocks=blocks, unused=("activation_scale", "input_scale"))


def _fbgemm_fp8(found: dict[str, Any], folder: Path) -> Scheme:
    return Scheme("fbgemm_fp8", (FP8,), scale="weight_scale", unused=("input_scale_ub",))


def _bits_and_bytes(found: dict[str, Any], folder: Path) -> Scheme:
    config = _BitsAndBytes.model_validate(found)
    if config.load_in_4bit or not config.load_in_8bit:
        raise _refusal(folder, "bitsandbytes in 4 bits")
    return Scheme("bitsandbytes int8", (INT8,), scale="SCB", factor=1 / 127, layout="weight_format", int8_rows=True)


def _refusal(folder: Path, form: str) -> ModelError:
    return ModelError(f"{folder}: its weights are quantized by {form}, which is not supported", hint=_HINT)
