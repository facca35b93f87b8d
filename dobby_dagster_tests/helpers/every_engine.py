"""Every engine of the table that runs on the device under test, or behind a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Engine, Generation
from dobby_dagster.inference.engine_choice import Need, candidates
from dobby_dagster.inference.engine_selection import engine_for
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster_tests.helpers.greedy_reference import Reference, reference_server
from dobby_dagster_tests.helpers.local_engines import DEVICE, PROMPT, requests


def obstacle(name: str) -> str:
    """Why an engine can't run here; ``""`` where it can."""
    device = "server" if name == "server" else DEVICE
    return candidates(Need(device, requested=name))[name]


def parameter(*values: Any) -> Any:
    """A parameter set that begins with an engine's name; skipped with the reason where the engine can't run here."""
    reason = obstacle(values[0])
    skipped = pytest.mark.skipif(bool(reason), reason=f"{values[0]}: {reason}")
    return pytest.param(*values, marks=skipped, id=" ".join(map(str, values)))


@contextmanager
def running(
    name: str, folder: Path, dtype: str = "float32", quantization: str = "none", **chosen: Any
) -> Iterator[Engine]:
    """An engine on a model; a server generates by transformers' own model."""
    settings = {"slots": 4, "max_new_tokens": 8, "no_repeat_ngram": 0} | chosen
    model: dict[str, Any] = {"path": str(folder), "engine": name, "device": DEVICE}
    with ExitStack() as stack:
        if name == "server":
            model = {"url": stack.enter_context(reference_server(Reference(folder))), "served_name": "small"}
        given = ModelSettings.model_validate(model | {"dtype": dtype, "quantization": quantization})
        engine = engine_for(given, InferenceSettings.model_validate(settings))
        stack.callback(engine.close)
        yield engine


def answers(engine: Engine, contents: list[str], prompt: Prompt = PROMPT) -> list[Generation]:
    """What an engine generates, in the order of the contents."""
    found = {answer.id: answer for answer in engine.infer(requests(contents), prompt)}
    ordered = [found[f"r{index}"] for index in range(len(contents))]
    assert all(isinstance(answer, Generation) for answer in ordered), ordered
    return [answer for answer in ordered if isinstance(answer, Generation)]
