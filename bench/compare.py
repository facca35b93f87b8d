"""Dobby's engine beside what a user would pick instead: same weights, same prompts, same number of new tokens.

Every peer is a process of its own; they are measured in turns, so that a noisy minute hits all of them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers import DOBBY, PEERS, missing
from bench.shapes import BUILT_IN, flops, folder_of, gemm_peak
from bench.workload import functions
from dobby_dagster.domain.contracts import SMALL_MODEL

# Between two peers: the threads of the one before may spin for a while after their work.
PAUSE_SECONDS = 0.5
REFERENCE = "transformers generate, float32, by length, 32"
# What is worth waiting for on the larger shapes.
QUICK = tuple(name for name in PEERS if "pipeline" not in name)
ON_LARGE = tuple(name for name in QUICK if "float32" not in name or name == REFERENCE)


@dataclass(frozen=True)
class Workload:
    """A model, prompts, and how many tokens to write for each."""

    name: str
    model: str
    prompts: list[list[int]]
    new: int
    peers: tuple[str, ...]
    rounds: int = 2


@dataclass
class Measured:
    """What a peer took on one workload; ``problem`` says why it has no figures."""

    problem: str = ""
    load_seconds: float = 0.0
    first_seconds: float = 0.0
    peak_bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    outputs: list[list[int]] = field(default_factory=list)


class Worker:
    """A peer's process."""

    def __init__(self, name: str, folder: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "ignore", "-m", "bench.worker", name, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def ask(self, command: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command, and wait for the answer."""
        send, receive = self._process.stdin, self._process.stdout
        if send and command is not None:
            send.write(json.dumps(command) + "\n")
            send.flush()
        line = receive.readline() if receive else ""
        return dict(json.loads(line)) if line else {"error": f"ended with status {self._process.wait()}"}

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def workloads(tokenizer: Any) -> list[Workload]:
    """Functions of the standard library; long contents; a mix of short ones with a few long."""
    encoded = tokenizer.plain(functions(600))
    code, summary = ([tokenizer.backend.token_to_id(mark)] for mark in ("<|code|>", "<|summary|>"))
    built_in = [[*code, *ids[:160], *summary] for ids in encoded[:256]]
    plain = [ids[:400] for ids in encoded if len(ids) >= 30]
    joined = [token for ids in encoded for token in ids]
    long = [joined[i * 2_500 : i * 2_500 + length] for i, length in enumerate((1_000, 2_000, 4_000) * 2)]
    mix = [*plain[:120], *(joined[i * 3_000 : i * 3_000 + 2_000] for i in range(3))]
    return [
        Workload("functions", BUILT_IN, built_in, 24, tuple(PEERS)),
        Workload("functions", "17M", plain[:192], 24, QUICK),
        Workload("long contents", "17M", long, 24, QUICK, rounds=1),
        Workload("skewed mix", "17M", mix, 24, QUICK),
        Workload("functions", "0.5B", plain[:16], 24, ON_LARGE, rounds=1),
    ]


def measure(workload: Workload, folder: Path) -> dict[str, Measured]:
    """Every peer on a workload: one prompt alone, one round to warm up, then rounds in turns."""
    found, workers = {name: Measured() for name in workload.peers}, {}
    for name in workload.peers:
        if missing(name):
            found[name].problem = "not installed"
            continue
        worker = Worker(name, folder)
        answer = worker.ask()
        if "error" in answer:
            found[name].problem = answer["error"]
            worker.close()
            continue
        found[name].load_seconds = answer["load_seconds"]
        alone = worker.ask({"prompts": workload.prompts[:1], "new": workload.new})
        found[name].first_seconds = found[name].load_seconds + alone.get("seconds", 0.0)
        workers[name] = worker
    command = {"prompts": workload.prompts, "new": workload.new}
    for turn in range(workload.rounds + 1):
        for name, worker in list(workers.items()):
            time.sleep(PAUSE_SECONDS)
            answer = worker.ask(command)
            if "error" in answer:
                found[name].problem = answer["error"]
                worker.close()
                del workers[name]
            elif turn:
                found[name].seconds.append(answer["seconds"])
                found[name].outputs, found[name].peak_bytes = answer["outputs"], answer["peak_bytes"]
    for worker in workers.values():
        worker.close()
    return found


def agreement(one: list[list[int]], other: list[list[int]]) -> tuple[float, float]:
    """The share of first tokens that are the same, and of all tokens up to the first that is not."""
    if not one or not other:
        return 0.0, 0.0
    first = sum(a[:1] == b[:1] for a, b in zip(one, other, strict=True)) / len(one)
    alike, whole = 0, 0
    for a, b in zip(one, other, strict=True):
        whole += len(b)
        alike += next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return first, alike / whole


def rows(workload: Workload, found: dict[str, Measured], folder: Path, peaks: dict[str, float]) -> list[list[object]]:
    """A table's rows, fastest first."""
    ours = found[DOBBY]
    base = statistics.median(ours.seconds)
    work = flops(folder, [len(prompt) for prompt in workload.prompts], workload.new)
    reference = found.get(REFERENCE, Measured()).outputs
    out: list[tuple[float, list[object]]] = []
    for name, measured in found.items():
        if not measured.seconds:
            out.append((float("inf"), [name, measured.problem or "no figures", "", "", "", "", "", "", "", ""]))
            continue
        seconds = statistics.median(measured.seconds)
        first, prefix = agreement(measured.outputs, reference)
        peak = peaks["float32" if "float32" in name else "bfloat16"]
        out.append(
            (
                seconds,
                [
                    name,
                    f"{len(workload.prompts) / seconds * 60:,.0f}",
                    f"{base / seconds:.2f}",
                    f"{sum(map(len, workload.prompts)) / seconds:,.0f}",
                    f"{len(workload.prompts) * workload.new / seconds:,.0f}",
                    f"{work / seconds / peak:.0%}" if "int8" not in name and "q8" not in name else "",
                    f"{measured.load_seconds:.1f}",
                    f"{measured.first_seconds:.1f}",
                    f"{measured.peak_bytes / 1e6:,.0f}",
                    f"{first:.0%}, {prefix:.0%}",
                ],
            )
        )
    return [row for _, row in sorted(out, key=lambda entry: entry[0])]


HEADERS = [
    "engine", "records a minute", "of Dobby's", "prompt tokens a second", "new tokens a second", "of the peak",
    "load, s", "first summary, s", "peak MB", "first token, all tokens as the reference",
]  # fmt: skip


def compare(place: Path, only: str = "") -> Iterator[tuple[str, list[list[object]]]]:
    """All workloads; a title and a table's rows for each."""
    from dobby_dagster.domain.settings import ModelSettings
    from dobby_dagster.inference.local.tokenizer import load_tokenizer
    from dobby_dagster.inference.models.model_lookup import find_model

    tokenizer = load_tokenizer(find_model(ModelSettings(path=SMALL_MODEL)))
    peaks = {dtype: gemm_peak(dtype) for dtype in ("float32", "bfloat16")}
    for workload in workloads(tokenizer):
        if only and only not in f"{workload.name} {workload.model}":
            continue
        folder = folder_of(workload.model, place)
        found = measure(workload, folder)
        mean = sum(map(len, workload.prompts)) / len(workload.prompts)
        title = (
            f"{workload.model}, {workload.name}: {len(workload.prompts)} prompts of {mean:.0f} tokens, {workload.new} new; "
            f"peak {peaks['bfloat16'] / 1e9:.0f} GFLOP/s bfloat16, {peaks['float32'] / 1e9:.0f} float32"
        )
        yield title, rows(workload, found, folder, peaks)
