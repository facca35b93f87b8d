"""Dobby on a CUDA device: the engines' contract suite, agreement with the CPU, and speed beside transformers alone.

``python -m bench.cuda``, under ten minutes. Needs torch with CUDA, transformers, pytest, hypothesis and pydantic, but
neither Dagster nor CozoDB, and no model but the built-in one: the larger shape has random weights. ``python -m
bench.cuda cpu`` rehearses it where there is no such device.
"""

from __future__ import annotations

import ast
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bench.peers import Peer
from bench.peers.dobby import Dobby
from bench.peers.hugging_face import ContinuousBatching, Generate
from bench.shapes import BUILT_IN, folder_of
from bench.tables import show
from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.prompts import PromptLibrary

PROMPT = PromptLibrary.load().get("summary")
ROUNDS = 3
# What depends on no other device than the one under test.
SUITE = ["test_engine_contract.py", "test_local_engine.py", "test_variants.py"]
ELSEWHERE = "not packed and not all_backends and not backend_is_chosen and not done_without"


def functions(count: int) -> list[str]:
    """Functions of the standard library of this Python, found by its own parser: ``bench.workload`` needs grammars."""
    return list(islice(_functions(), count))


def _functions() -> Iterator[str]:
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = file.read_text(errors="replace")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and 3 <= node.end_lineno - node.lineno <= 60:  # type: ignore[operator]
                yield ast.get_source_segment(text, node) or ""


def suite(device: str) -> str:
    """The last line of the contract suite of the engines on ``device``; what failed is printed."""
    folder = Path("dobby_dagster_tests/inference")
    command = [
        sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", ".", "--noconftest", "-q", "-rfEs", "--tb=short",
        "-p", "no:cacheprovider", "-p", "dobby_dagster_tests.helpers.checkpoint_fixtures", "-k", ELSEWHERE,
        "-W", "ignore", *(str(folder / name) for name in SUITE),
    ]  # fmt: skip
    done = subprocess.run(command, env=os.environ | {"TEST_DEVICE": device}, capture_output=True, text=True)  # noqa: S603
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()[-20:]
    if done.returncode:
        print("\n".join(lines[-120:]), flush=True)
    return lines[-1]


def engine(slots: int = 128, **model: Any) -> LocalEngine:
    """The small shipped model."""
    settings = ModelSettings(path=SMALL_MODEL, **model)
    return LocalEngine(find_model(settings), settings, InferenceSettings(slots=slots))


def agreement(device: str, count: int) -> list[dict[str, object]]:
    """The built-in model's summaries on the device beside those of transformers in float32 on the CPU."""
    asked = [Request(str(place), content, "python") for place, content in enumerate(functions(count))]
    rows: list[dict[str, object]] = []
    reference: dict[str, Generation] = {}
    for place, dtype in (("cpu", "float32"), (device, "float32"), (device, "bfloat16")):
        made = engine(device=place, dtype=dtype, engine="transformers")
        info = made.load()
        answers = {answer.id: answer for answer in made.infer(asked, PROMPT)}
        good = {name: answer for name, answer in answers.items() if isinstance(answer, Generation)}
        reference = reference or good
        both = [(good[name], other) for name, other in reference.items() if name in good]
        apart = [abs(one.confidence - other.confidence) for one, other in both
                 if one.confidence is not None and other.confidence is not None]  # fmt: skip
        rows.append({
            "engine": f"{info.engine}, {info.device}, {dtype}",
            "same texts": f"{sum(one.text == other.text for one, other in both)} of {len(reference)}",
            "largest difference of confidence": max(apart, default=0.0),
            "failures": sum(isinstance(answer, Failure) for answer in answers.values()),
        })  # fmt: skip
        made.close()
    return rows


def speed(peers: dict[str, Peer], folder: Path, prompts: list[list[int]], new: int) -> list[dict[str, object]]:
    """Records a minute of each peer, in turns, by its median round."""
    taken: dict[str, list[float]] = {}
    problem = dict.fromkeys(peers, "")
    for turn in range(ROUNDS + 1):
        for name, peer in peers.items():
            if problem[name]:
                continue
            try:
                began = time.perf_counter()
                if not turn:
                    peer.load(folder)
                written = peer.run(prompts if turn else prompts[:16], new)
                if turn:
                    taken.setdefault(name, []).append(time.perf_counter() - began)
                    assert sum(map(len, written)) == new * len(prompts)
            except Exception as error:  # what one peer lacks must not end the bench
                problem[name] = f"{type(error).__name__}: {error}"[:160]
    rows: list[dict[str, object]] = []
    for name in peers:
        median = statistics.median(taken[name]) if name in taken else None
        rows.append({
            "what": name,
            "records a minute": problem[name] if median is None else 60 * len(prompts) / median,
            "new tokens a second": "" if median is None else new * len(prompts) / median,
        })  # fmt: skip
    return rows


def main(device: str) -> None:
    """All three parts; the tables stand at the end."""
    import torch
    import transformers

    cuda = device == "cuda"
    count, new = (512, 48) if cuda else (8, 4)
    name = torch.cuda.get_device_name() if cuda else "CPU"
    print(f"{name}; torch {torch.__version__}, transformers {transformers.__version__}\n", flush=True)
    tested = suite(device)
    print(f"contract suite on {device}: {tested}", flush=True)
    agreed = agreement(device, count)
    show("The built-in model beside transformers in float32 on the CPU", agreed)
    with tempfile.TemporaryDirectory() as place:
        for shape in (BUILT_IN, "0.5B") if cuda else (BUILT_IN,):
            folder = folder_of(shape, Path(place))
            model = check_folder(folder)
            longest = model.prompt_limit(400, new)
            prompts = [ids[:longest] for ids in load_tokenizer(model).plain(functions(count))]
            peers: dict[str, Peer] = {
                "dobby, bfloat16, 128 slots": Dobby(128, device=device, dtype="bfloat16"),
                "transformers generate, bfloat16, by length, 128": Generate("bfloat16", device, 128),
            }
            rows = speed(peers, folder, prompts, new)
            show(f"Speed, {shape}, {count} prompts of at most {longest} tokens, {new} new tokens each", rows)
        if cuda:  # last, since it takes most of the memory, and may fail
            others: dict[str, Peer] = {
                "transformers, continuous batching, bfloat16": ContinuousBatching("bfloat16", device)
            }
            show(f"Speed, {shape}, beside the above", speed(others, folder, prompts, new))


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "cuda")
