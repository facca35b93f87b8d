"""Memory that nothing uses any more, returned to the device or to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def return_unused(device: str) -> None:
    """Return memory that was freed, after a model was loaded or closed: the allocators keep it for themselves."""
    gc.collect()
    if sys.platform == "linux":  # glibc; musl has no such function
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    if mlx := sys.modules.get("mlx.core"):
        mlx.clear_cache()
    if device != "cpu" and (torch := sys.modules.get("torch")):
        (torch.cuda if device == "cuda" else torch.mps).empty_cache()
