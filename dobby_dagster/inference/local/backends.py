"""The backends of this machine: OpenVINO and packed torch on the CPU, MLX on Apple's GPU, transformers anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import psutil

from dobby_dagster.inference.local.continuous_batching import ContinuousGenerator
from dobby_dagster.inference.local.generator import Generator, LoadedGenerator, LoadRequest
from dobby_dagster.inference.local.memory_budget import token_budget, working_bytes
from dobby_dagster.inference.local.network import Network
from dobby_dagster.inference.local.parallel_generators import ParallelGenerator

# A model of at most this size runs in one generator per core, if each of them gets enough slots to be fast.
SMALL_BYTES = 64_000_000
PART_SLOTS = 64
# Of a weight that MLX quantizes.
_BITS = {"none": 0, "int8": 8, "int4": 4}


def _load_openvino(request: LoadRequest) -> LoadedGenerator:
    """See :mod:`dobby_dagster.inference.openvino`."""
    from dobby_dagster.inference.openvino.openvino_graph import build_graph
    from dobby_dagster.inference.openvino.openvino_network import OpenVinoNetwork, compile_graph

    dtype = request.placement.dtype
    graph = build_graph(request.source, dtype, int8=request.model.quantization == "int8")
    cores = psutil.cpu_count(logical=False) or 1
    parts = _parts(cores, request.inference.slots, graph.bytes)
    compiled = compile_graph(graph, dtype, streams=parts, threads=cores)
    networks = [OpenVinoNetwork(compiled) for _ in range(parts)]
    networks[0].prefill([[0]], networks[0].slots(1, 1), 0)  # a model that it can't run fails here, not in every record
    compiled.weights.release()  # this first pass has packed them
    generators = _continuous(request, networks)
    return LoadedGenerator(
        generator=generators[0] if parts == 1 else ParallelGenerator(generators),
        backend="openvino",
        note=_parts_note(parts),
        slots=request.inference.slots,
        dtype=dtype,
        parameters=graph.parameters,
        bytes=graph.bytes,
    )


def _load_packed(request: LoadRequest) -> LoadedGenerator:
    """See :mod:`dobby_dagster.inference.packed`."""
    import torch

    from dobby_dagster.inference.packed.packed_network import PackedNetwork
    from dobby_dagster.inference.packed.packed_weights import load_weights

    positions = request.longest_prompt + request.inference.max_new_tokens
    weights = load_weights(request.source, getattr(torch, request.placement.dtype), positions=positions)
    network = PackedNetwork(weights, batch_invariant=request.inference.reproducible)
    cores = torch.get_num_threads()
    parts = _parts(cores, request.inference.slots, weights.bytes)
    generators = _continuous(request, [network] * parts)
    generator: Generator = generators[0]
    if parts > 1:
        generator = ParallelGenerator(generators, partial(torch.set_num_threads, cores // parts))
        torch.set_num_threads(cores)  # per thread, but new threads start with the last value
    return LoadedGenerator(
        generator=generator,
        backend="packed",
        note=_parts_note(parts),
        slots=request.inference.slots,
        dtype=request.placement.dtype,
        parameters=weights.parameters,
        bytes=weights.bytes,
    )


def _load_mlx(request: LoadRequest) -> LoadedGenerator:
    """See :mod:`dobby_dagster.inference.mlx`."""
    from dobby_dagster.inference.mlx.mlx_device import unusable_reason

    if reason := unusable_reason():
        raise ImportError(reason)
    import mlx.core as mx

    from dobby_dagster.inference.mlx.mlx_network import MlxNetwork
    from dobby_dagster.inference.mlx.mlx_weights import load_weights

    placement = request.placement
    weights = load_weights(request.source, placement.dtype, placement.device, _BITS[request.model.quantization])
    network = MlxNetwork(weights, placement.device, batch_invariant=request.inference.reproducible)
    network.prefill([[0]], network.slots(1, 1), 0)  # a model that it can't run fails here, not in every record
    mx.set_cache_limit(working_bytes(request.source.config, placement))  # freed memory that is kept for the next pass
    [generator] = _continuous(request, [network])
    return LoadedGenerator(
        generator=generator,
        backend="mlx",
        slots=request.inference.slots,
        dtype=placement.dtype,
        parameters=weights.parameters,
        bytes=weights.bytes,
    )


def _load_vllm(request: LoadRequest) -> LoadedGenerator:
    """See :mod:`dobby_dagster.inference.vllm`."""
    from dobby_dagster.inference.vllm.vllm_loading import load

    return load(request)


def _load_transformers(request: LoadRequest) -> LoadedGenerator:
    """See :mod:`dobby_dagster.inference.local.padded_generator`."""
    from dobby_dagster.inference.local.padded_generator import PaddedGenerator
    from dobby_dagster.inference.local.transformers_model import load_model, quantize

    inference, placement = request.inference, request.placement
    int8 = request.model.quantization == "int8"
    if int8:
        placement = replace(placement, dtype="float32")
    model = load_model(request.source, placement)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if int8:
        model = quantize(model)
    # The amount of padding depends on what shares a batch, and rounding on the padding.
    slots = 1 if inference.reproducible else inference.slots
    budget = token_budget(inference, request.source.config, placement)
    return LoadedGenerator(
        generator=PaddedGenerator(
            model, request.selector, request.slot_use, slots, budget, inference.max_new_tokens, request.pad_token
        ),
        backend="transformers",
        slots=slots,
        dtype=placement.dtype,
        parameters=parameters,
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers())),
    )


# How each backend loads a model; engine_features says what it supports.
BACKENDS: dict[str, Callable[[LoadRequest], LoadedGenerator]] = {
    "openvino": _load_openvino,
    "packed": _load_packed,
    "mlx": _load_mlx,
    "vllm": _load_vllm,
    "transformers": _load_transformers,
}


def _continuous(request: LoadRequest, networks: Sequence[Network[Any, Any]]) -> list[Generator]:
    """A generator for each network; they share the slots and the memory in equal parts."""
    inference, parts = request.inference, len(networks)
    slots, new_tokens = inference.slots // parts, inference.max_new_tokens
    budget = token_budget(inference, request.source.config, request.placement) // parts
    return [
        ContinuousGenerator(
            network, request.selector, request.slot_use, slots, budget, new_tokens, request.longest_prompt
        )
        for network in networks
    ]


def _parts(cores: int, slots: int, size: int) -> int:
    """How many generators run in parallel on a model of ``size`` bytes."""
    return max(1, min(cores, slots // PART_SLOTS)) if size <= SMALL_BYTES else 1


def _parts_note(parts: int) -> str:
    return f"{parts} generators in parallel, since the model is small" if parts > 1 else ""
