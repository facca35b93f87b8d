"""From a checked model to a generator on vLLM."""

from __future__ import annotations

import gc
import json
import math
import tempfile
import weakref
from pathlib import Path
from typing import Any

from dobby_dagster.inference.local.generator import LoadedGenerator, LoadRequest
from dobby_dagster.inference.local.memory_budget import token_budget, token_bytes
from dobby_dagster.inference.local.transformers_model import settled_config
from dobby_dagster.inference.models.checkpoint import Checkpoint
from dobby_dagster.inference.vllm.vllm_environment import prepare

# Tokens in a page of keys and values, at most: vLLM's own is 16 on CUDA.
_PAGE = 128
# vLLM keeps the groups of torch.distributed for the whole process, so that the end of one engine would break another.
_engines: weakref.WeakSet[Any] = weakref.WeakSet()


def load(request: LoadRequest) -> LoadedGenerator:
    """Load the weights into a ``vllm.LLMEngine``.

    Raises:
        ModelError: The weights can't be read.
        RuntimeError: Another engine of vLLM is open in this process.
    """
    prepare()
    import torch
    from vllm import LLMEngine

    from dobby_dagster.inference.vllm.vllm_generator import VllmGenerator
    from dobby_dagster.inference.vllm.vllm_weights import StateLoader

    if _engines:
        gc.collect()
    if _engines:
        raise RuntimeError("vLLM runs one model in a process: close the other engine first")
    with Checkpoint(request.source, "pt") as checkpoint:
        state = checkpoint.state(getattr(torch, request.placement.dtype))
        config = settled_config(request.source, tied=checkpoint.tied)
    parameters = sum(tensor.numel() for tensor in state.values())
    size = sum(tensor.nbytes for tensor in state.values())
    pages = _pages(request, size)
    with tempfile.TemporaryDirectory(prefix="dobby-vllm-") as place:
        config |= {"architectures": [f"{request.source.architecture}ForCausalLM"]}
        (Path(place) / "config.json").write_text(json.dumps(config))
        StateLoader.state = state
        del state
        try:
            engine = LLMEngine.from_engine_args(_arguments(request, place, pages))
        finally:
            StateLoader.state = {}
    _engines.add(engine)

    def close() -> None:
        _engines.discard(engine)
        engine.engine_core.shutdown()

    generator = VllmGenerator(engine, request.inference, request.selector, request.slot_use, pages * _PAGE)
    try:
        generator.try_out()
    except BaseException:
        close()
        raise
    return LoadedGenerator(
        generator=generator,
        backend="vllm",
        slots=request.inference.slots,
        dtype=request.placement.dtype,
        parameters=parameters,
        bytes=size,
        close=close,
    )


def _arguments(request: LoadRequest, place: str, pages: int) -> Any:
    """The settings of vLLM: its defaults, but for what the contract asks and what an untrusted model could abuse."""
    from vllm import EngineArgs

    from dobby_dagster.inference.vllm.repetition_control import RepetitionControl
    from dobby_dagster.inference.vllm.vllm_weights import FORMAT

    inference = request.inference
    control = {"no_repeat_ngram": inference.no_repeat_ngram, "repetition_penalty": inference.repetition_penalty}
    return EngineArgs(
        model=place,
        load_format=FORMAT,
        skip_tokenizer_init=True,
        generation_config="vllm",
        trust_remote_code=False,
        dtype=request.placement.dtype,
        max_model_len=request.longest_prompt + inference.max_new_tokens,
        max_num_seqs=inference.slots,
        kv_cache_memory_bytes=(pages + 1) * _PAGE * token_bytes(request.source.config, request.placement),
        gpu_memory_utilization=0.01,  # not used beside the line above, but it must be free
        enable_prefix_caching=True,
        block_size=32 if request.placement.device == "cpu" else None,  # 128 there: longer than common prefixes
        enforce_eager=request.placement.device == "cpu",  # to compile takes a minute there, and gains little
        async_scheduling=False,  # the ban on repetitions needs each token before the next is chosen
        logits_processors=[RepetitionControl] if control != {"no_repeat_ngram": 0, "repetition_penalty": 1.0} else None,
        additional_config=control,
        disable_log_stats=True,
        seed=inference.seed,
    )


def _pages(request: LoadRequest, size: int) -> int:
    """Pages for keys and values: those that fit beside ``size`` bytes of weights, but not more than slots can use."""
    longest = math.ceil((request.longest_prompt + request.inference.max_new_tokens) / _PAGE)
    fit = token_budget(request.inference, request.source.config, request.placement, weights=size)
    return min(max(fit // _PAGE, longest), request.inference.slots * longest)
