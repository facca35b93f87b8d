"""The engine alone: throughput over slots, cost by prompt length, quality of the fast path."""

from __future__ import annotations

import statistics
import time
from typing import Any

from bench.compare import agreement
from bench.workload import documented, functions
from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.prompts import PromptLibrary

PROMPT = PromptLibrary.load().get("summary")
# Settings of the model by name; an empty one means transformers in float32.
QUALITY_OF: dict[str, dict[str, str]] = {
    "transformers, float32": {},
    "transformers, bfloat16": {"engine": "transformers"},
    "packed, float32": {"engine": "packed", "dtype": "float32"},
    "packed, bfloat16": {"engine": "packed"},
    "OpenVINO, float32": {"engine": "openvino", "dtype": "float32"},
    "OpenVINO, bfloat16 (the default)": {"engine": "openvino"},
    "OpenVINO, int8": {"engine": "openvino", "quantization": "int8"},
}
SLOTS = (1, 2, 4, 8, 16, 20, 32, 64, 128, 256)


def engine(slots: int = 128, **model: Any) -> LocalEngine:
    """The small shipped model with ``slots`` slots."""
    settings = ModelSettings(path=SMALL_MODEL, **model)
    made = LocalEngine(find_model(settings), settings, InferenceSettings(slots=slots))
    made.load()
    return made


def answers(made: LocalEngine, contents: list[str]) -> dict[str, Generation]:
    """Every summary, as a user gets it: ends of text and the ban on repetitions as they come."""
    asked = [Request(str(i), content, "python") for i, content in enumerate(contents)]
    return {answer.id: answer for answer in made.infer(asked, PROMPT) if isinstance(answer, Generation)}


def seconds(made: LocalEngine, contents: list[str]) -> float:
    """Wall time for all of them."""
    began = time.perf_counter()
    answers(made, contents)
    return time.perf_counter() - began


def over_slots(count: int = 512, rounds: int = 3) -> list[dict[str, float]]:
    """Records a minute, and the percentiles of the time that a record takes up, by slots, measured in turns."""
    contents = functions(count)
    engines = {slots: engine(slots) for slots in SLOTS}
    taken: dict[int, list[float]] = {slots: [] for slots in SLOTS}
    shares: dict[int, list[float]] = {slots: [] for slots in SLOTS}
    for turn in range(rounds + 1):
        for slots, made in engines.items():
            part = contents if slots > 4 else contents[: count // 4]
            began = time.perf_counter()
            found = answers(made, part)
            if turn:
                taken[slots].append((time.perf_counter() - began) / len(part))
                shares[slots] += [answer.seconds * 1000 for answer in found.values()]
    one = statistics.median(taken[1])
    rows = []
    for slots in SLOTS:
        median = statistics.median(taken[slots])
        cuts = statistics.quantiles(shares[slots], n=100)
        rows.append(
            {
                "slots": slots,
                "records a minute": 60 / median,
                "times one slot": one / median,
                "ms a record, p50": cuts[49],
                "p95": cuts[94],
                "p99": cuts[98],
            }
        )
    return rows


def by_prompt_length() -> list[dict[str, float]]:
    """What a record costs by the length of its prompt: alone, and among 64."""
    many, alone = engine(), engine(1)
    tokenizer: Any = many._loaded.tokenizer  # type: ignore[union-attr]
    contents = functions(4_000)
    lengths = [len(ids) for ids in tokenizer.plain(contents)]
    rows = []
    for low, high in ((20, 40), (40, 80), (80, 120), (120, 160)):
        part = [c for c, length in zip(contents, lengths, strict=True) if low <= length < high][:256]
        seconds(many, part)
        rows.append(
            {
                "prompt tokens, from": low,
                "to": high,
                "ms alone, median": statistics.median(seconds(alone, [c]) for c in part[:24]) * 1000,
                "ms among 128": min(seconds(many, part) for _ in range(3)) / len(part) * 1000,
            }
        )
    return rows


def quality(count: int = 1_000) -> list[dict[str, object]]:
    """The outputs of the fast backends against transformers in float32: similarity to the author's sentence, and to its texts."""
    from dobby_dagster.inference.scoring.text_overlap import interval, smoothed_bleu

    pairs = documented(count)
    contents = [code for code, _ in pairs]
    plain = answers(engine(32, engine="transformers", dtype="float32"), contents)
    rows: list[dict[str, object]] = []
    for name, model in QUALITY_OF.items():
        found = answers(engine(**model), contents) if model else plain
        both = [key for key in plain if key in found]
        words = agreement([found[k].text.split() for k in both], [plain[k].text.split() for k in both])
        bleu, low, high = (
            100 * part for part in interval([smoothed_bleu(pairs[int(k)][1], found[k].text) for k in both])
        )
        confidences = [statistics.fmean(answered[k].confidence for k in both) for answered in (found, plain)]
        rows.append(
            {
                "backend": name,
                "smoothed BLEU-4": f"{bleu:.2f} ({low:.2f} to {high:.2f})",
                "texts as in float32": f"{sum(found[k].text == plain[k].text for k in both) / len(both):.1%}",
                "first words": f"{words[0]:.1%}",
                "words up to the first other one": f"{words[1]:.1%}",
                "difference of mean confidence": round(confidences[0] - confidences[1], 5),
            }
        )
    return rows


def reproducible(count: int = 512) -> list[dict[str, object]]:
    """What batch invariance costs."""
    contents = functions(count)
    made = {}
    for name, chosen in {"as it comes": {}, "float32": {}, "int8": {}, "reproducible": {"reproducible": True}}.items():
        settings = ModelSettings(
            path=SMALL_MODEL,
            dtype="float32" if name == "float32" else "auto",
            quantization="int8" if name == "int8" else "none",
        )
        made[name] = LocalEngine(find_model(settings), settings, InferenceSettings.model_validate(chosen))
    for each in made.values():
        seconds(each, contents[:64])
    taken = {name: statistics.median(seconds(each, contents) for _ in range(3)) for name, each in made.items()}
    return [
        {"mode": name, "records a minute": len(contents) / value * 60, "of as it comes": taken["as it comes"] / value}
        for name, value in taken.items()
    ]
