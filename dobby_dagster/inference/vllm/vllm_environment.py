"""What vLLM reads from the environment; to be set before its first import."""

from __future__ import annotations

import logging
import os

_ENVIRONMENT = {
    # The engine runs in this process: no worker process that could outlive it, and results without a socket between.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # One path through the model runner on all devices, the one that the tests on the CPU run.
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    # vLLM reports its use to a server of its makers otherwise.
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    # torch.distributed, of which vLLM makes a group of one process, listens on loopback only.
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    # vLLM would write its log to standard output, which is for results.
    "VLLM_CONFIGURE_LOGGING": "0",
}


def prepare() -> None:
    """Set the environment for vLLM in this process, and let only its errors through to the log."""
    os.environ.update(_ENVIRONMENT)
    logging.getLogger("vllm").setLevel(logging.ERROR)
