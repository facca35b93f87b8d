"""How many tokens the device can hold at once."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.settings import InferenceSettings
from dobby_dagster.inference.local.devices import Placement
from dobby_dagster.inference.models.model_config import ModelConfig

# Working memory of a pass beside keys and values, as tokens of hidden and intermediate states.
_WORKING_TOKENS = 4_096
_LEAST_TOKENS = 64
# Memory is short below this share of all that the process may use.
_SHORT_SHARE = 0.1
# Limit and use of this process's control group, version 2 and 1.
_GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_GROUP_USES = (Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"))


def token_budget(settings: InferenceSettings, config: ModelConfig, placement: Placement, *, weights: int = 0) -> int:
    """Tokens in the device at once, outputs included: as set, else as many as its free memory holds.

    The passes through the model need a constant amount beside keys and values.

    Args:
        settings: The share or the limit of the memory.
        config: The model's shape.
        placement: Its device and dtype.
        weights: Bytes that its weights will take; 0 where they are loaded already.

    Raises:
        SettingsError: ``memory_limit_bytes`` is too small for even the shortest prompt.
    """
    if settings.token_budget:
        return settings.token_budget
    working = working_bytes(config, placement)
    token = token_bytes(config, placement)
    free = max(0, free_bytes(placement.device) - weights)
    allowed, limit = free * settings.memory_share, settings.memory_limit_bytes
    if limit:
        least = working + _LEAST_TOKENS * token
        if limit < least:
            raise SettingsError(
                f"inference.memory_limit_bytes = {limit:,} is too small: this model needs {least:,} bytes beside its "
                "weights",
                hint="raise it, or set 0 for no limit",
            )
        allowed = min(allowed, limit)
    return max(_LEAST_TOKENS, int((allowed - working) / token))


def working_bytes(config: ModelConfig, placement: Placement) -> int:
    """What a pass through the model needs beside keys and values, in bytes."""
    return _WORKING_TOKENS * (12 * config.hidden_size + 4 * config.intermediate_size) * placement.itemsize


def token_bytes(config: ModelConfig, placement: Placement) -> int:
    """Bytes of a token's keys and values: layers * key-value heads * head size * 2 numbers."""
    return config.num_layers * config.num_kv_heads * config.head_dim * 2 * placement.itemsize


def memory_is_short() -> bool:
    """Whether so little of the machine's memory is free that what is not in use has to be given back."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for limit in _GROUP_LIMITS:
        with suppress(OSError, ValueError):  # no such group, or no limit
            total = min(total, int(limit.read_text()))
    return free_bytes("cpu") < _SHORT_SHARE * total


def free_bytes(device: str) -> int:
    """Free memory of a device, in bytes.

    On the CPU within the limits of this process's control group; on Metal within what it recommends for a process.
    """
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return _free_metal_bytes() if device == "mps" else _free_cpu_bytes()


def _free_metal_bytes() -> int:
    """What Metal recommends that a process uses at most, less what MLX and torch, where they are loaded, hold."""
    limit = used = 0
    if torch := sys.modules.get("torch"):
        limit, used = torch.mps.recommended_max_memory(), torch.mps.driver_allocated_memory()
    if mlx := sys.modules.get("mlx.core"):
        limit, used = mlx.device_info()["max_recommended_working_set_size"], used + mlx.get_active_memory()
    return max(0, int(limit - used))


def _free_cpu_bytes() -> int:
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in zip(_GROUP_LIMITS, _GROUP_USES, strict=True):
        try:
            free = min(free, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such group, or no limit
            continue
    return max(0, free)
