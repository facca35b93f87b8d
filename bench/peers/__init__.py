"""What a user would pick instead, each behind the same few lines, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol


class Peer(Protocol):
    """Loads a checkpoint; writes exactly so many tokens for each prompt, greedily, whatever they are."""

    def load(self, folder: Path) -> None:
        """Ready to generate."""
        ...

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """The tokens written for each prompt, in order."""
        ...


def _dobby(engine: str, **model: str) -> Peer:
    from bench.peers.dobby import Dobby

    return Dobby(128, engine=engine, **model)


def _hugging_face(way: str, dtype: str) -> Peer:
    from bench.peers.hugging_face import Generate, Pipeline

    return Generate(dtype) if way == "generate" else Pipeline(dtype)


def _openvino(precision: str, kind: str) -> Peer:
    from bench.peers.open_vino import OpenVino

    return OpenVino(precision, kind)


def _llama(kind: str) -> Peer:
    from bench.peers.llama import LlamaCpp

    return LlamaCpp(kind)


def _ctranslate(kind: str) -> Peer:
    from bench.peers.ctranslate import CTranslate

    return CTranslate(kind)


DOBBY = "dobby, OpenVINO, bfloat16"
# Name to the package that it needs and how it is made.
PEERS: dict[str, tuple[str, Callable[[], Peer]]] = {
    DOBBY: ("openvino", lambda: _dobby("openvino", dtype="bfloat16")),
    "dobby, OpenVINO, int8": ("openvino", lambda: _dobby("openvino", quantization="int8")),
    "dobby, OpenVINO, float32": ("openvino", lambda: _dobby("openvino", dtype="float32")),
    "dobby, packed, bfloat16": ("torch", lambda: _dobby("packed", dtype="bfloat16")),
    "dobby, packed, float32": ("torch", lambda: _dobby("packed", dtype="float32")),
    "transformers generate, bfloat16, by length, 32": ("transformers", lambda: _hugging_face("generate", "bfloat16")),
    "transformers generate, float32, by length, 32": ("transformers", lambda: _hugging_face("generate", "float32")),
    "transformers pipeline, bfloat16, 16": ("transformers", lambda: _hugging_face("pipeline", "bfloat16")),
    "OpenVINO GenAI, bfloat16": ("openvino_genai", lambda: _openvino("bf16", "f16")),
    "OpenVINO GenAI, int8": ("openvino_genai", lambda: _openvino("bf16", "q8_0")),
    "CTranslate2, float32": ("ctranslate2", lambda: _ctranslate("float32")),
    "CTranslate2, int8": ("ctranslate2", lambda: _ctranslate("int8")),
    "llama.cpp, bfloat16, 32": ("llama_cpp", lambda: _llama("bf16")),
    "llama.cpp, q8_0, 32": ("llama_cpp", lambda: _llama("q8_0")),
}


def missing(name: str) -> bool:
    """Whether a peer's package is not installed."""
    return find_spec(PEERS[name][0]) is None
