"""The two ways to generate on this machine, and which is taken: packed on the CPU, by transformers elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.devices import Placement
from dobby_dagster.inference.encoding import Encoded
from dobby_dagster.inference.memory import token_budget
from dobby_dagster.inference.model_folder import ModelFolder
from dobby_dagster.inference.selection import Selector, Written

# A model of at most so many bytes runs in as many generators as there are cores, if each has enough slots to be fast.
SMALL_BYTES = 64_000_000
PART_SLOTS = 64


class Generator(Protocol):
    """Writes outputs for prompts, in any order."""

    def run(self, prompts: Sequence[Encoded], seeds: Sequence[str]) -> Iterator[Written]:
        """One output for each prompt; ``seeds`` make sampling independent of what shares the device."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A generator with its weights in memory, and what there is to say about it."""

    generator: Generator
    engine: str
    reason: str
    slots: int
    parameters: int
    bytes: int


def load_generator(
    folder: ModelFolder,
    model: ModelSettings,
    inference: InferenceSettings,
    placement: Placement,
    selector: Selector,
    longest: int,
    pad_token: int,
) -> Loaded:
    """Load the weights for the way that the settings and the device call for.

    Raises:
        ModelError: The weights can't be loaded, or the way that was asked for can't be gone.
    """
    obstacle = why_not_packed(folder, model, placement)
    if model.engine == "packed" and obstacle:
        raise ModelError(f"{folder.name} can't be run packed: {obstacle}", hint="use model.engine = auto")
    if model.engine == "transformers":
        return _padded(folder, model, inference, placement, selector, pad_token, "transformers was asked for")
    if obstacle:
        return _padded(folder, model, inference, placement, selector, pad_token, f"not packed: {obstacle}")
    return packed(folder, inference, placement, selector, longest)


def why_not_packed(folder: ModelFolder, model: ModelSettings, placement: Placement) -> str:
    """What stands against packed generation; ``""`` where nothing does."""
    config = folder.config
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    dtype = str(placement.dtype).removeprefix("torch.")
    obstacles = {
        f"it is for the CPU, not for {placement.device}": placement.device != "cpu",
        f"it has no {model.quantization}": model.quantization != "none",
        f"it has no {dtype}": dtype not in ("float32", "bfloat16"),
        f"the model's rotary embedding is scaled ({kind})": kind != "default",
        "the model uses a sliding window": bool(config.get("use_sliding_window")),
        "the model's activation is not SiLU": config.get("hidden_act", "silu") != "silu",
        "the model has biases that its architecture has not": bool(
            config.get("attention_bias") or config.get("mlp_bias")
        ),
    }
    return next((obstacle for obstacle, stands in obstacles.items() if stands), "")


def packed(
    folder: ModelFolder, inference: InferenceSettings, placement: Placement, selector: Selector, longest: int
) -> Loaded:
    """Packed generation on the CPU; see :mod:`dobby_dagster.inference.packed`.

    Raises:
        ModelError: The weights can't be loaded.
    """
    import torch

    from dobby_dagster.inference.packed.generator import PackedGenerator
    from dobby_dagster.inference.packed.network import Network
    from dobby_dagster.inference.packed.parallel import ParallelGenerator
    from dobby_dagster.inference.packed.weights import load_weights

    weights = load_weights(folder, placement.dtype)
    network = Network(weights, fixed=inference.reproducible)
    budget = token_budget(inference, folder.config, placement)
    cores = torch.get_num_threads()
    parts = max(1, min(cores, inference.slots // PART_SLOTS)) if weights.bytes <= SMALL_BYTES else 1
    made = [
        PackedGenerator(network, selector, inference.slots // parts, budget // parts, inference.max_new_tokens, longest)
        for _ in range(parts)
    ]
    reason = "on the CPU prompts are packed, and slots refilled at once"
    generator: Generator = made[0]
    if parts > 1:
        generator = ParallelGenerator(made, cores // parts)
        reason += f"; {parts} generators side by side, since the model is small"
    return Loaded(generator, "packed", reason, inference.slots, weights.parameters, weights.bytes)


def _padded(
    folder: ModelFolder,
    model: ModelSettings,
    inference: InferenceSettings,
    placement: Placement,
    selector: Selector,
    pad_token: int,
    reason: str,
) -> Loaded:
    from dobby_dagster.inference.loading import load_model, quantize
    from dobby_dagster.inference.padded import PaddedGenerator

    network = load_model(folder, placement)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if model.quantization == "int8":
        network = quantize(network)
    size = sum(tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers()))
    # Padding makes a record's numbers depend on its company; alone it has none.
    slots = 1 if inference.reproducible else inference.slots
    budget = token_budget(inference, folder.config, placement)
    generator = PaddedGenerator(network, selector, slots, budget, inference.max_new_tokens, pad_token)
    return Loaded(generator, "transformers", reason, slots, parameters, size)
