"""Which device and dtype a model runs on. torch takes more than a second to import, so only where it is needed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.optional_packages import missing

# One of these exists where a driver for CUDA or ROCm is loaded: NVIDIA's, WSL's, AMD's, and two of Jetson's.
_DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/nvhost-ctrl", "/dev/nvmap")


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
        return {
            "mps": "no Metal device on this machine", "cuda": "no CUDA device or driver on this machine", "cpu": "",
        }  # fmt: skip
    if reason := missing("torch"):
        return {"mps": reason, "cuda": reason, "cpu": ""}
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
        ModelError: int8 is set for a device other than the CPU.
    """
    reasons = available()
    if settings.device == "auto":
        device = next(name for name, reason in reasons.items() if not reason)
        passed = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
        reason = f"auto chose {device}" + (f" ({'; '.join(passed)})" if passed else "")
    elif reasons[settings.device]:
        device, reason = "cpu", f"{settings.device} was requested, but {reasons[settings.device]}: using the CPU"
    else:
        device, reason = settings.device, f"{settings.device} was requested"
    if settings.quantization == "int8" and device != "cpu":
        raise ModelError(f"model.quantization = int8 is for the CPU, not for {device}", hint="use --device cpu")
    return Placement(device, _dtype(settings, device, reproducible), reason)


def _dtype(settings: ModelSettings, device: str, reproducible: bool) -> str:
    if reproducible:
        return "float32"
    if settings.dtype != "auto":
        return settings.dtype
    if device == "mps":
        return "float16"  # bfloat16 is emulated on M1 and M2
    if device == "cpu":
        return "bfloat16" if _native_bfloat16() else "float32"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


@lru_cache(maxsize=1)
def _native_bfloat16() -> bool:
    """Whether this CPU has instructions that multiply bfloat16."""
    if find_spec("openvino"):
        from openvino import Core

        return "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
