"""``dobby summarize`` with each engine on the same records, beside transformers in float32.

``python -m bench engines --help``. Every engine has a process and a database of its own; they run in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.summarize_process import new_database
from bench.tables import show
from dobby_dagster.inference.engine_choice import Need, candidates
from dobby_dagster.inference.engine_features import ENGINES
from dobby_dagster.store.database.connect import cozo_client

SUMMARIES = "?[key, text, confidence, seconds] := *dobby_summary{key, text, confidence, inference_seconds: seconds}"
REFERENCE = "transformers, float32"


@dataclass
class Run:
    """A way to summarise, and what it gave.

    Attributes:
        label: For people.
        settings: Of Dobby, as ``model_engine`` for ``DOBBY_MODEL_ENGINE``.
        python: The interpreter that runs it.
    """

    label: str
    settings: dict[str, str]
    python: str = sys.executable
    summaries: dict[str, tuple[str, float | None]] = field(default_factory=dict)
    failed: int = 0
    seconds: list[float] = field(default_factory=list)
    inference_seconds: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    problem: str = ""

    def turn(self, records: int) -> None:
        """Summarise all records of a new database."""
        with new_database(records) as url:
            home = str(Path(url.removeprefix("sqlite:///")).parent / "home")
            own = {f"DOBBY_{name.upper()}": value for name, value in self.settings.items()}
            columns = ["--relation", "code", "--key", "id", "--language", "language"]
            command = [self.python, "-m", "dobby_dagster.cli.app", "summarize", "-d", url, *columns, "--json"]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "DAGSTER_HOME": home, **own}
            began = time.perf_counter()
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
            seconds = time.perf_counter() - began
            answered = ended.stdout.startswith("{")
            with cozo_client(url) as db:
                rows = db.run(SUMMARIES)["rows"] if answered else []
            if not rows:
                self.problem = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1][:200]
                return
            self.failed = json.loads(ended.stdout)["failed"]
        self.summaries = {key: (text, confidence) for key, text, confidence, _ in rows}
        self.seconds.append(seconds)
        self.inference_seconds.append(sum(row[3] for row in rows))
        self.load.append(os.getloadavg()[0])

    def row(self, reference: Run) -> dict[str, object]:
        """A row of the table."""
        if not self.seconds:
            return {"engine": self.label, **dict.fromkeys(HEADERS, ""), HEADERS[0]: self.problem}
        both = self.summaries.keys() & reference.summaries.keys()
        same = sum(self.summaries[key][0] == reference.summaries[key][0] for key in both) / max(1, len(both))
        known = [
            (mine, theirs)
            for key in both
            if (mine := self.summaries[key][1]) is not None and (theirs := reference.summaries[key][1]) is not None
        ]
        away = f"{statistics.fmean(abs(mine - theirs) for mine, theirs in known):.4f}" if known else "unknown"
        count = len(self.summaries)
        values = (
            f"{same:.1%} of {len(both)}", away, self.failed, count / statistics.median(self.seconds) * 60,
            count / statistics.median(self.inference_seconds) * 60, f"{min(self.load):.0f} to {max(self.load):.0f}",
        )  # fmt: skip
        return {"engine": self.label, **dict(zip(HEADERS, values, strict=True))}


HEADERS = (
    "same text", "mean difference of confidence", "failed", "records a minute, start and load included",
    "records a minute, inference alone", "load of the machine",
)  # fmt: skip


def runs(given: argparse.Namespace) -> list[Run]:
    """What there is to run on the CPU: the reference first."""
    elsewhere = dict(pair.split("=", 1) for pair in given.python)
    common = {"model_device": "cpu", **({"model_path": given.model} if given.model else {})}
    found = []
    for name, engine in sorted(ENGINES.items(), key=lambda entry: entry[0] != "transformers"):
        if name == "server" or not (name in elsewhere or not candidates(Need("cpu", requested=name))[name]):
            continue
        for dtype in ("float32", "bfloat16") if name != "mlx" or given.slow else ("float32",):
            settings = common | {"model_engine": name, "model_dtype": dtype}
            found.append(Run(f"{name}, {dtype}", settings, elsewhere.get(name, sys.executable)))
        for kind in engine.quantizations.get("cpu", ()):
            settings = common | {"model_engine": name, "model_quantization": kind}
            found.append(Run(f"{name}, {kind}", settings, elsewhere.get(name, sys.executable)))
    if given.url:
        found.append(Run(f"server, {given.url}", {"model_url": given.url, "model_served_name": given.served_name}))
    return [run for run in found if run.label == REFERENCE or not given.only or run.label.startswith(tuple(given.only))]


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser("python -m bench engines", description=__doc__)
    parser.add_argument("--records", type=int, default=300, help="functions of the standard library (300)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each engine has its turn (1)")
    parser.add_argument("--model", default="", help="a model folder; by default the built-in model")
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PATH",
                        help="run an engine by another interpreter, as vllm=/env/bin/python; repeatable")  # fmt: skip
    parser.add_argument("--url", default="", help="also a server, as http://127.0.0.1:8000/v1")
    parser.add_argument("--served-name", default="", help="the model's name on that server")
    parser.add_argument("--slow", action="store_true", help="also bfloat16 by MLX on the CPU, which is very slow")
    parser.add_argument("--only", action="append", default=[], help="labels that begin so, beside the reference")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run all and print a table."""
    given = parsed(arguments)
    found = runs(given)
    for turn in range(given.rounds):
        for run in found:
            run.turn(given.records)
            print(f"round {turn + 1} of {given.rounds}: {run.row(found[0])}", file=sys.stderr, flush=True)
    title = f"{given.records} functions, {os.cpu_count()} cores, {given.rounds} in turns"
    show(title, [run.row(found[0]) for run in found])
    return int(any(run.problem for run in found))
