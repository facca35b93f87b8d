"""The three ways to generate on this machine, and which is taken: OpenVINO or packed on the CPU, else transformers."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psutil

from dobby_dagster.domain.errors import DobbyError, ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.local.continuous_batching import ContinuousGenerator, Network
from dobby_dagster.inference.local.devices import Placement
from dobby_dagster.inference.local.generator import Generator, Loaded
from dobby_dagster.inference.local.memory_budget import token_budget
from dobby_dagster.inference.local.parallel_generators import ParallelGenerator
from dobby_dagster.inference.local.token_selection import Selector
from dobby_dagster.inference.models.model_folder import ModelFolder, one_line
from dobby_dagster.inference.models.tensor_files import INT8
from dobby_dagster.inference.optional_packages import missing

log = logging.getLogger("dobby")

# A model of at most so many bytes runs in as many generators as there are cores, if each has enough slots to be fast.
SMALL_BYTES = 64_000_000
PART_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be loaded, and for what.

    Attributes:
        longest: Longest prompt that will come, in tokens.
        pad_token: Stands to the left of shorter prompts, where a way pads.
    """

    folder: ModelFolder
    model: ModelSettings
    inference: InferenceSettings
    placement: Placement
    selector: Selector
    longest: int
    pad_token: int


def load_generator(order: Order) -> Loaded:
    """Load the weights for the way that the settings and the device call for.

    Raises:
        ModelError: The weights can't be loaded, or the way that was asked for can't be gone.
    """
    asked = list(_WAYS) if order.model.engine == "auto" else [order.model.engine]
    reasons: list[str] = []
    for name in asked:
        obstacle = why_not(name, order)
        made = None if obstacle else _attempt(_WAYS[name], order)
        if isinstance(made, Loaded):
            form = _form(order, made.engine)
            return replace(made, reason="; ".join([made.reason, *form, *reasons]))
        if made:
            log.warning("%s can't be run by %s: %s", order.folder.name, name, made)
        reasons.append(f"not {name}: {obstacle or made}")
    hint = "use model.engine = auto" if order.model.engine != "auto" else ""
    raise ModelError(f"{order.folder.name} can't be run by {asked[-1]}: {reasons[-1].partition(': ')[2]}", hint=hint)


def _form(order: Order, engine: str) -> list[str]:
    """What became of quantized weights, for people; nothing where they are not quantized."""
    scheme = order.folder.scheme
    if scheme is None:
        return []
    kept = engine == "openvino" and order.model.quantization == "int8" and INT8 in scheme.dtypes
    return [f"weights {'kept as they are in' if kept else 'dequantized from'} {scheme.name}"]


def _attempt(load: Callable[[Order], Loaded], order: Order) -> Loaded | str:
    """What a way loads, or why it can't; a folder that is broken is broken for all of them."""
    try:
        return load(order)
    except DobbyError:
        raise
    except Exception as error:  # whatever a library raises for a model that it can't run: there may be another way
        return one_line(error)


def why_not(way: str, order: Order) -> str:
    """What stands against a way to generate; ``""`` where nothing does."""
    placement, quantization = order.placement, order.model.quantization
    obstacles: dict[str, bool] = {}
    if way in ("openvino", "packed"):
        obstacles = {
            f"it is for the CPU, not for {placement.device}": placement.device != "cpu",
            f"it has no {placement.dtype}": placement.dtype not in ("float32", "bfloat16"),
        }
    if way == "openvino":
        obstacles |= {
            missing("openvino", "ml_dtypes"): True,
            f"it was tried on x86-64 only, not on {platform.machine()}": platform.machine() not in ("x86_64", "AMD64"),
            "it has no reproducible mode": order.inference.reproducible,
        }
    if way == "packed":
        obstacles |= {missing("torch"): True, f"it has no {quantization}": quantization != "none"}
    if way == "transformers":
        obstacles |= {missing("torch", "transformers"): True}
    stands = next((obstacle for obstacle, stands in obstacles.items() if obstacle and stands), "")
    return stands or ("" if way == "transformers" else order.folder.config.unsupported)


def _openvino(order: Order) -> Loaded:
    """Generation on the CPU by OpenVINO; see :mod:`dobby_dagster.inference.openvino`."""
    from dobby_dagster.inference.openvino.openvino_graph import build_graph
    from dobby_dagster.inference.openvino.openvino_network import OpenVinoNetwork, compile_graph

    dtype = order.placement.dtype
    graph = build_graph(order.folder, dtype, int8=order.model.quantization == "int8")
    cores = psutil.cpu_count(logical=False) or 1
    parts = _parts(cores, order.inference.slots, graph.bytes)
    compiled = compile_graph(graph, dtype, streams=parts, threads=cores)
    networks = [OpenVinoNetwork(compiled) for _ in range(parts)]
    networks[0].prefill([[0]], networks[0].slots(1, 1), 0)  # what it can't run shows here, and not record by record
    generators = _continuous(order, networks)
    return Loaded(
        generator=generators[0] if parts == 1 else ParallelGenerator(generators),
        engine="openvino",
        reason=f"on the CPU OpenVINO is the fastest way{_beside(parts)}",
        slots=order.inference.slots,
        dtype=dtype,
        parameters=graph.parameters,
        bytes=graph.bytes,
    )


def _packed(order: Order) -> Loaded:
    """Packed generation on the CPU by torch; see :mod:`dobby_dagster.inference.packed`."""
    import torch

    from dobby_dagster.inference.packed.packed_network import PackedNetwork
    from dobby_dagster.inference.packed.packed_weights import load_weights

    weights = load_weights(
        order.folder, getattr(torch, order.placement.dtype), positions=order.longest + order.inference.max_new_tokens
    )
    network = PackedNetwork(weights, batch_invariant=order.inference.reproducible)
    cores = torch.get_num_threads()
    parts = _parts(cores, order.inference.slots, weights.bytes)
    generators = _continuous(order, [network] * parts)
    generator: Generator = generators[0]
    if parts > 1:
        generator = ParallelGenerator(generators, partial(torch.set_num_threads, cores // parts))
        torch.set_num_threads(cores)  # each thread has its own number, but a new one begins with what was set last
    return Loaded(
        generator=generator,
        engine="packed",
        reason=f"on the CPU prompts are packed, and slots refilled at once{_beside(parts)}",
        slots=order.inference.slots,
        dtype=order.placement.dtype,
        parameters=weights.parameters,
        bytes=weights.bytes,
    )


def _padded(order: Order) -> Loaded:
    """Generation on any device by transformers; see :mod:`dobby_dagster.inference.local.padded_generator`."""
    from dobby_dagster.inference.local.padded_generator import PaddedGenerator
    from dobby_dagster.inference.local.transformers_model import load_model, quantize

    inference, placement = order.inference, order.placement
    int8 = order.model.quantization == "int8"
    if int8:
        placement = replace(placement, dtype="float32")
    network = load_model(order.folder, placement)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if int8:
        network = quantize(network)
    size = sum(tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers()))
    # Padding makes a record's numbers depend on its company; alone it has none.
    slots = 1 if inference.reproducible else inference.slots
    budget = token_budget(inference, order.folder.config, placement)
    generator = PaddedGenerator(network, order.selector, slots, budget, inference.max_new_tokens, order.pad_token)
    asked = "transformers was asked for" if order.model.engine == "transformers" else "transformers runs everywhere"
    return Loaded(generator, "transformers", asked, slots, placement.dtype, parameters, size)


# In the order in which they are tried.
_WAYS: dict[str, Callable[[Order], Loaded]] = {"openvino": _openvino, "packed": _packed, "transformers": _padded}


def _continuous(order: Order, networks: Sequence[Network[Any, Any]]) -> list[Generator]:
    """A generator for each network; slots and memory are shared out."""
    inference, parts = order.inference, len(networks)
    budget = token_budget(inference, order.folder.config, order.placement) // parts
    return [
        ContinuousGenerator(
            network, order.selector, inference.slots // parts, budget, inference.max_new_tokens, order.longest
        )
        for network in networks
    ]


def _parts(cores: int, slots: int, size: int) -> int:
    """How many generators work side by side on a model of ``size`` bytes."""
    return max(1, min(cores, slots // PART_SLOTS)) if size <= SMALL_BYTES else 1


def _beside(parts: int) -> str:
    return f"; {parts} generators side by side, since the model is small" if parts > 1 else ""
