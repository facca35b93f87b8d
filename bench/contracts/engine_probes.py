"""The engine's contracts: the built-in model, shapes with random weights for larger ones, and a served model."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.contracts.measurement import Figure, Figures, Probe, in_new_process, seconds
from bench.fixed_latency import fixed_latency_server, served_engine
from bench.pipeline_run import PROMPT
from bench.shapes import BUILT_IN, folder_of
from bench.workload import functions
from dobby_dagster.domain.errors import RecordError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Engine, Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.pipeline.reporting.batch_metrics import percentile
from dobby_dagster.pipeline.summarization.quality_gate import gate

LONG_SHAPE = "17M"
SERVED = "served, 0.5 s"
LATENCY_SECONDS = 0.5
SERVED_SLOTS = 20


def probes() -> list[Probe]:
    """Each contract of the engine. Where a shape has random weights only its speed and memory say something."""
    load, memory = "engine_load_{}_seconds", "engine_memory_ratio"
    sized = (("small", BUILT_IN, ""), ("middle", "0.5B", ""), ("large", "1.5B", "a model of 2.6 GB is made first"))
    loads = [
        Probe(
            f"{shape}",
            # Of a small model most of the memory is buffers and kernels, whose size does not depend on the model's.
            (load.format(size), *([] if shape == BUILT_IN else [memory])),
            partial(in_new_process, _loading, shape, load.format(size)),
            costs,
        )
        for size, shape, costs in sized
    ]
    return [
        *loads,
        Probe(BUILT_IN, ("engine_short_input_seconds", "engine_middle_input_seconds"), _single_inputs),
        Probe(BUILT_IN, ("engine_long_input_seconds",), partial(_long_input, BUILT_IN)),
        Probe(LONG_SHAPE, ("engine_long_input_seconds",), partial(_long_input, LONG_SHAPE)),
        Probe(BUILT_IN, ("engine_ten_inputs_seconds", "engine_hundred_inputs_seconds"), _many_inputs),
        Probe(BUILT_IN, ("engine_success_share", "engine_slot_utilization"), _all_slots),
        Probe(BUILT_IN, ("engine_slot_wait_seconds",), lambda: _slot_wait(local_engine(BUILT_IN))),
        Probe(SERVED, ("engine_slot_utilization", "engine_slot_wait_seconds"), _served),
    ]


def local_engine(shape: str, slots: int = 128) -> LocalEngine:
    """A loaded engine for one of the shapes."""
    with tempfile.TemporaryDirectory() as place:
        made = LocalEngine(check_folder(folder_of(shape, Path(place))), ModelSettings(), InferenceSettings(slots=slots))
        made.load()
    return made


def _loading(shape: str, contract: str) -> Figures:
    """Load in this new process; memory is what another model of the same files adds once the libraries are there."""
    with tempfile.TemporaryDirectory() as place:
        folder = folder_of(shape, Path(place))
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        taken = in_new_process(_load_alone, folder)
        built_in = local_engine(BUILT_IN)
        before = _private_bytes()
        engine = LocalEngine(check_folder(folder), ModelSettings(), InferenceSettings())
        info = engine.load()
        grown = _private_bytes() - before
        note = f"{size / 1e6:,.0f} MB of weights, {grown / 1e6:,.0f} MB more memory, {info.engine} in {info.dtype}"
        built_in.close()
        return {contract: Figure(taken, note), "engine_memory_ratio": Figure(grown / size, note)}


def _load_alone(folder: Path) -> float:
    return seconds(LocalEngine(check_folder(folder), ModelSettings(), InferenceSettings()).load)


def _private_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


def _single_inputs() -> Figures:
    engine = local_engine(BUILT_IN)
    return {
        "engine_short_input_seconds": _alone(engine, _contents(engine, 40, 100)),
        "engine_middle_input_seconds": _alone(engine, _contents(engine, 100, 500)),
    }


def _long_input(shape: str) -> Figures:
    engine = local_engine(shape)
    limit = engine.load().max_prompt_tokens
    note = f"shortened to the model's {limit} tokens" if limit < 500 else ""
    return {"engine_long_input_seconds": Figure(_alone(engine, _contents(engine, 501, 1_000)), note)}


def _many_inputs() -> Figures:
    engine, contents = local_engine(BUILT_IN), functions(400)
    _answers(engine, contents[:10])
    return {
        "engine_ten_inputs_seconds": statistics.median(
            seconds(partial(_answers, engine, contents[i : i + 10])) for i in (50, 150, 250)
        ),
        "engine_hundred_inputs_seconds": seconds(partial(_answers, engine, contents[100:200])),
    }


def _all_slots() -> Figures:
    """Enough inputs that filling the slots at the beginning, and emptying them at the end, weigh little."""
    engine, contents = local_engine(BUILT_IN), functions(2_048)
    _answers(engine, contents[:128])
    began, held = time.perf_counter(), engine.slot_use.seconds
    answered = _answers(engine, contents)
    used = (engine.slot_use.seconds - held) / (time.perf_counter() - began)
    sound = sum(_is_sound(answered.get(str(i)), content) for i, content in enumerate(contents))
    return {
        "engine_success_share": Figure(sound / len(contents), f"{len(contents)} inputs, the quality gate included"),
        "engine_slot_utilization": Figure(used / engine.slots, f"{used:.0f} of {engine.slots} slots"),
    }


def _served() -> Figures:
    with fixed_latency_server(LATENCY_SECONDS) as url:
        engine = served_engine(url, SERVED_SLOTS)
        engine.load()
        began, held = time.perf_counter(), engine.slot_use.seconds
        _answers(engine, functions(SERVED_SLOTS * 10))
        used = (engine.slot_use.seconds - held) / (time.perf_counter() - began)
        note = f"{used:.1f} of {SERVED_SLOTS} slots"
        waits = _slot_wait(engine)
        engine.close()
    return {"engine_slot_utilization": Figure(used / SERVED_SLOTS, note), **waits}


def _slot_wait(engine: Engine) -> Figures:
    """From the moment that the engine takes a request, alone, until the request holds a slot; the 95th percentile."""
    taken = held = 0.0
    change = engine.slot_use.change

    def noted(count: int) -> None:
        nonlocal held
        if count > 0:
            held = time.perf_counter()
        change(count)

    def request(content: str) -> Iterator[Request]:
        nonlocal taken
        taken = time.perf_counter()
        yield Request("0", content, "python")

    engine.slot_use.change = noted  # type: ignore[method-assign]
    waits = []
    for content in functions(24):
        list(engine.infer(request(content), PROMPT))
        waits.append(held - taken)
    return {"engine_slot_wait_seconds": Figure(percentile(waits[4:], 0.95), "p95, tokenization included")}


def _alone(engine: LocalEngine, contents: list[str]) -> float:
    _answers(engine, contents[:1])
    return statistics.median(seconds(partial(_answers, engine, [content])) for content in contents)


def _contents(engine: LocalEngine, shortest: int, longest: int) -> list[str]:
    """Nine contents of so many tokens, the instruction not counted."""
    tokenizer: Any = engine._loaded.tokenizer  # type: ignore[union-attr]
    found = functions(4_000)
    lengths = [len(ids) for ids in tokenizer.plain(found)]
    return [content for content, n in zip(found, lengths, strict=True) if shortest <= n < longest][:9]


def _answers(engine: Engine, contents: list[str]) -> dict[str, Generation]:
    requests = (Request(str(i), content, "python") for i, content in enumerate(contents))
    return {answer.id: answer for answer in engine.infer(requests, PROMPT) if isinstance(answer, Generation)}


def _is_sound(answer: Generation | None, content: str) -> bool:
    try:
        gate(answer.text if answer else "", content, PROMPT.text)
    except RecordError:
        return False
    return True
