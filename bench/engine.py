"""The engine against transformers' own pipeline and generate, on the same contents, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.workload import functions
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.local_engine import LocalEngine
from dobby_dagster.inference.model_folder import find_model
from dobby_dagster.inference.prompts import PromptLibrary

PROMPT = PromptLibrary.load().get("summary")
SLOTS = (1, 2, 4, 8, 20, 40)


def engine(slots: int = 20) -> LocalEngine:
    """The built-in model with so many slots."""
    made = LocalEngine(find_model(ModelSettings()), ModelSettings(), InferenceSettings(slots=slots))
    made.load()
    return made


def ours(made: LocalEngine, contents: list[str]) -> int:
    """Summarise all; how many came out."""
    asked = [Request(str(i), content, "python") for i, content in enumerate(contents)]
    return sum(isinstance(answer, Generation) for answer in made.infer(asked, PROMPT))


def pipeline(made: LocalEngine, contents: list[str], size: int) -> int:
    """The same prompts and settings through ``transformers.pipeline``, ``size`` at a time, in the order they come."""
    from transformers import TextGenerationPipeline

    loaded: Any = made._loaded
    encoded = loaded.encoder.encode([Request(str(i), c, "python") for i, c in enumerate(contents)], PROMPT)
    prompts = [loaded.tokenizer.decode(item.ids) for item in encoded]
    loaded.tokenizer.padding_side = "left"
    run = TextGenerationPipeline(model=loaded.model, tokenizer=loaded.tokenizer)
    options = {"max_new_tokens": 40, "do_sample": False, "no_repeat_ngram_size": 4, "return_full_text": False}
    return len(run(prompts, batch_size=size, add_special_tokens=False, **options))


def generate(made: LocalEngine, contents: list[str], size: int) -> int:
    """The same through ``model.generate`` in batches of like length, as a careful user would write it."""
    import torch

    loaded: Any = made._loaded
    encoded = loaded.encoder.encode([Request(str(i), c, "python") for i, c in enumerate(contents)], PROMPT)
    ordered = sorted((item.ids for item in encoded), key=len, reverse=True)
    count = 0
    for begin in range(0, len(ordered), size):
        part = ordered[begin : begin + size]
        longest = len(part[0])
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in part])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in part])
        with torch.inference_mode():
            made_ids = loaded.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=40, do_sample=False, no_repeat_ngram_size=4
            )
        count += len(made_ids)
    return count


def rate(action: Callable[[], int]) -> float:
    """Records a minute of one call."""
    began = time.perf_counter()
    count = action()
    return count / (time.perf_counter() - began) * 60


def compare(contents: list[str], rounds: int = 3) -> dict[str, float]:
    """Median records a minute of each way, measured in turns."""
    made = engine()
    ways: dict[str, Callable[[], int]] = {
        "dobby, 20 slots": lambda: ours(made, contents),
        "transformers generate, sorted by length, 20 at a time": lambda: generate(made, contents, 20),
        "transformers pipeline, 16 at a time": lambda: pipeline(made, contents, 16),
        "transformers pipeline, one at a time": lambda: pipeline(made, contents[: len(contents) // 4], 1),
    }
    ours(made, contents[:20])
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, action in ways.items():
            measured[name].append(rate(action))
    return {name: statistics.median(values) for name, values in measured.items()}


def over_slots(contents: list[str], rounds: int = 3) -> dict[int, float]:
    """Median records a minute by number of slots, measured in turns."""
    engines = {slots: engine(slots) for slots in SLOTS}
    measured: dict[int, list[float]] = {slots: [] for slots in SLOTS}
    for _ in range(rounds):
        for slots, made in engines.items():
            part = contents if slots > 2 else contents[: len(contents) // 3]
            measured[slots].append(rate(lambda made=made, part=part: ours(made, part)))
    return {slots: statistics.median(values) for slots, values in measured.items()}


def contracts() -> dict[str, float]:
    """The engine's figures that contracts are about, in seconds."""
    made = engine()
    info = made.load()
    tokenizer: Any = made._loaded.tokenizer  # type: ignore[union-attr]
    by_length = sorted(functions(400), key=lambda content: len(tokenizer(content)["input_ids"]))
    short, middle = by_length[40], by_length[300]
    ours(made, [short])

    def seconds(contents: list[str]) -> float:
        began = time.perf_counter()
        ours(made, contents)
        return time.perf_counter() - began

    return {
        "load_seconds": info.load_seconds,
        "short_input_seconds": statistics.median(seconds([short]) for _ in range(5)),
        "middle_input_seconds": statistics.median(seconds([middle]) for _ in range(5)),
        "ten_inputs_seconds": statistics.median(seconds(by_length[i : i + 10]) for i in (50, 150, 250)),
        "hundred_inputs_seconds": seconds(by_length[100:200]),
    }


def main_contents(count: int = 240) -> list[str]:
    """The standard workload."""
    return functions(count)
