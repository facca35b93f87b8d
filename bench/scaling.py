"""Records a minute over requests in progress, with a model server of fixed latency: ``python -m bench scaling``.

On two cores one slot of the local engine already keeps both busy, so linear scaling can only show where the model runs
elsewhere. The whole pipeline is measured: claims, requests, quality gate and commits to SQLite.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.contracts.engine_probes import local_engine
from bench.fixed_latency import fixed_latency_server, served_engine
from bench.pipeline_run import PROMPT, loaded_store, stream
from bench.shapes import BUILT_IN
from bench.tables import show
from bench.workload import functions
from dobby_dagster.inference.engine import Request

LATENCIES = (0.5, 2.0)
# Rounds in which each of the requests in progress is answered once.
ROUNDS = 6
REQUESTS = (1, 2, 4, 8, 16, 20, 32, 64)
LOCAL_SLOTS = (1, 2, 4, 8, 20, 64, 128)
PICTURE = Path("build/scaling.png")


def over_requests(latency: float, rounds: int = ROUNDS) -> list[dict[str, float]]:
    """A row for each number of requests in progress; each runs ``rounds`` times as many records."""
    rows: list[dict[str, float]] = []
    with fixed_latency_server(latency) as url:
        for requests in REQUESTS:
            contents = [f"{content}\n# {i}" for i, content in enumerate(functions(requests * rounds))]
            with loaded_store("sqlite", contents) as store:
                engine = served_engine(url, requests)
                run = stream(store, engine, chunk_size=60)
                for _ in run.chunks:
                    pass
                engine.close()
            ideal = 60 / latency * requests
            rows.append(
                {
                    "requests in progress": requests,
                    "records a minute": run.inferred / run.seconds * 60,
                    "ideal": ideal,
                    "of the ideal": run.inferred / run.seconds * 60 / ideal,
                    "slots in use": run.slot_seconds / run.seconds,
                    "CPU cores": run.cpu_seconds / run.seconds,
                }
            )
            print(f"{requests} requests", file=sys.stderr, flush=True)
    return rows


def local_over_slots() -> list[dict[str, float]]:
    """What bounds the local engine: the cores that it uses, and the processor time of a record, by its slots."""
    rows: list[dict[str, float]] = []
    for slots in LOCAL_SLOTS:
        engine = local_engine(BUILT_IN, slots)
        contents = functions(min(512, 64 + 4 * slots))
        list(engine.infer([Request("", content, "python") for content in contents[:slots]], PROMPT))
        began, cpu, held = time.perf_counter(), time.process_time(), engine.slot_use.seconds
        list(engine.infer([Request(str(i), content, "python") for i, content in enumerate(contents)], PROMPT))
        spent, used = time.perf_counter() - began, time.process_time() - cpu
        rows.append(
            {
                "slots": slots,
                "records a minute": len(contents) / spent * 60,
                "slots in use": (engine.slot_use.seconds - held) / spent,
                "CPU cores": used / spent,
                "CPU ms a record": used / len(contents) * 1_000,
            }
        )
        engine.close()
    return rows


def main() -> int:
    """Print the tables, and draw those of the model server."""
    by_latency = {latency: over_requests(latency) for latency in LATENCIES}
    for latency, rows in by_latency.items():
        show(f"A model server with a latency of {latency:g} s", rows)
    show("The local engine, built-in model", local_over_slots())
    from bench.plots import plot_scaling

    plot_scaling(by_latency, PICTURE)
    print(f"A picture: {PICTURE}")
    return 0
