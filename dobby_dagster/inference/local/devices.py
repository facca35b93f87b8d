"""Which device and dtype a model runs on. torch takes more than a second to import, so only where it is needed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.mlx.mlx_device import without_gpu_reason
from dobby_dagster.inference.optional_packages import missing

# One of these exists where a driver for CUDA or ROCm is loaded: NVIDIA's, WSL's, AMD's, and two of Jetson's.
_DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/nvhost-ctrl", "/dev/nvmap")
_NO_METAL = "no Metal device on this machine"
_NO_CUDA = "no CUDA device or driver on this machine"


@dataclass(frozen=True)
class Placement:
    """A device and a dtype, by torch's names, and why these were chosen.

    >>> Placement("cpu", "bfloat16", "").itemsize
    2
    """

    device: str
    dtype: str
    reason: str

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return 4 if self.dtype == "float32" else 2


def available() -> dict[str, str]:
    """Each device in order of preference, with ``""`` where it is usable, else the reason why not."""
    if sys.platform == "linux" and not any(Path(file).exists() for file in _DEVICE_FILES):
        return {"mps": _NO_METAL, "cuda": _NO_CUDA, "cpu": ""}
    return {"mps": _without_metal(), "cuda": _without_cuda(), "cpu": ""}


def place(settings: ModelSettings, *, reproducible: bool) -> Placement:
    """Choose device and dtype."""
    device, reason = device_of(settings)
    return Placement(device, _dtype(settings, device, reproducible), reason)


def device_of(settings: ModelSettings) -> tuple[str, str]:
    """The device, and why it was chosen."""
    reasons = available()
    if settings.device == "auto":
        device = next(name for name, reason in reasons.items() if not reason)
        passed = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
        reason = f"auto chose {device}" + (f" ({'; '.join(passed)})" if passed else "")
    elif reasons[settings.device]:
        device, reason = "cpu", f"{settings.device} was requested, but {reasons[settings.device]}: using the CPU"
    else:
        device, reason = settings.device, f"{settings.device} was requested"
    return device, reason


def _dtype(settings: ModelSettings, device: str, reproducible: bool) -> str:
    if reproducible:
        return "float32"
    if settings.dtype != "auto":
        return settings.dtype
    if device == "mps":  # torch emulates bfloat16 on M1 and M2; the activations of some models overflow float16
        return "float16" if without_gpu_reason() else "bfloat16"
    if device == "cpu":
        return "bfloat16" if has_native_bfloat16() else "float32"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def _without_metal() -> str:
    """Why neither MLX nor torch can use Apple's GPU; ``""`` where one of them can."""
    if sys.platform != "darwin":
        return _NO_METAL
    reason = without_gpu_reason()
    if not reason or missing("torch"):
        return reason
    import torch

    if not torch.backends.mps.is_built():
        return "this torch is built without Metal"
    return "" if torch.backends.mps.is_available() else _NO_METAL


def _without_cuda() -> str:
    """Why torch can't use CUDA; ``""`` where it can."""
    if reason := missing("torch"):
        return reason
    import torch

    if not torch.backends.cuda.is_built():
        return "this torch is built without CUDA"
    return "" if torch.cuda.is_available() else _NO_CUDA


@lru_cache(maxsize=1)
def has_native_bfloat16() -> bool:
    """Whether this CPU has instructions that multiply bfloat16."""
    if find_spec("openvino"):
        from openvino import Core

        return "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
