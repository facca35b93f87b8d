"""Which device, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import ModelSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Placement:
    """A device and a dtype, and why these."""

    device: str
    dtype: torch.dtype
    reason: str


def available() -> dict[str, str]:
    """Each device with ``""`` where it can be used, else why not; in order of preference."""
    import torch

    reasons = {"mps": "", "cuda": "", "cpu": ""}
    if not torch.backends.mps.is_built():
        reasons["mps"] = "this torch is built without Metal"
    elif not torch.backends.mps.is_available():
        reasons["mps"] = "no Metal device on this machine"
    if not torch.backends.cuda.is_built():
        reasons["cuda"] = "this torch is built without CUDA"
    elif not torch.cuda.is_available():
        reasons["cuda"] = "no CUDA device or driver on this machine"
    return reasons


def place(settings: ModelSettings, *, reproducible: bool) -> Placement:
    """Choose device and dtype.

    Raises:
        ModelError: int8 is asked for together with a device that is not the CPU.
    """
    reasons = available()
    if settings.device == "auto":
        device = next(name for name, reason in reasons.items() if not reason)
        passed = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
        reason = f"auto chose {device}" + (f" ({'; '.join(passed)})" if passed else "")
    elif reasons[settings.device]:
        device, reason = "cpu", f"{settings.device} was asked for, but {reasons[settings.device]}: using the CPU"
    else:
        device, reason = settings.device, f"{settings.device} was asked for"
    if settings.quantization == "int8" and device != "cpu":
        raise ModelError(f"model.quantization = int8 is for the CPU, not for {device}", hint="use --device cpu")
    return Placement(device, _dtype(settings, device, reproducible), reason)


def _dtype(settings: ModelSettings, device: str, reproducible: bool) -> torch.dtype:
    import torch

    if reproducible or settings.quantization == "int8":
        return torch.float32
    if settings.dtype != "auto":
        chosen: torch.dtype = getattr(torch, settings.dtype)
        return chosen
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device == "mps":
        return torch.float16  # bfloat16 is emulated on the first two generations
    return (
        torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else torch.float32
    )
