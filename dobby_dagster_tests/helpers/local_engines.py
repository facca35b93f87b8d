"""Local engines on small checkpoints, and what they write."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.mlx.mlx_device import unusable_reason
from dobby_dagster.inference.models.model_lookup import check_model
from dobby_dagster.inference.optional_packages import missing
from dobby_dagster.inference.prompts import PromptLibrary

PROMPT = PromptLibrary.load().get("summary")
CONTENTS = [f"def f{i}(x):\n    return {'x + ' * (i % 9)}{i}" for i in range(23)]
LONG = ["y = 2  # " + "word " * n for n in (3, 40, 90, 7, 60, 20)]
# Where the engines run. `python -m bench.cuda` names another device, and tests what runs on all of them.
DEVICE = os.environ.get("TEST_DEVICE", "cpu")
# The fastest of Dobby's own backends on this processor, and all of them.
FASTEST = "openvino" if platform.machine() in ("x86_64", "AMD64") else "packed"
_OWN = {"cpu": [FASTEST, "packed", "mlx"], "mps": ["mlx"]}
BACKENDS = list(dict.fromkeys([*_OWN.get(DEVICE, []), "transformers"]))
# Why tests with a backend are skipped; "": they are not.
SKIPPED = {"mlx": unusable_reason(), "vllm": missing("vllm")}


def engine_on(path: Path, backend: str = "auto", **settings: object) -> LocalEngine:
    if reason := SKIPPED.get(backend):
        pytest.skip(reason)
    inference = InferenceSettings.model_validate({"slots": 4, "max_new_tokens": 8} | settings)
    model = ModelSettings.model_validate({"device": DEVICE, "dtype": "float32", "engine": backend})
    return LocalEngine(check_model(path), model, inference)


def requests(contents: list[str]) -> list[Request]:
    return [Request(f"r{i}", content, "python") for i, content in enumerate(contents)]


def edited(folder: Path, copy: Path, name: str = "", value: float = 0.0) -> Path:
    """A copy of a checkpoint, with one tensor filled."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, copy)
    if name:
        tensors = load_file(copy / "model.safetensors")
        tensors[name].fill_(value)
        save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    return copy


def texts(engine: LocalEngine, contents: list[str]) -> list[str]:
    answers = sorted(engine.infer(requests(contents), PROMPT), key=lambda a: int(a.id[1:]))
    assert all(isinstance(answer, Generation) for answer in answers)
    return [answer.text for answer in answers if isinstance(answer, Generation)]


def generated(engine: LocalEngine, contents: list[str]) -> list[Sequence]:
    engine.load()
    assert engine._loaded is not None
    sequences = engine._loaded.encoder.encode(requests(contents), PROMPT)
    finished = list(engine._loaded.generator.run(sequences))
    assert len(finished) == len(set(finished)) == len(contents)
    return sequences
