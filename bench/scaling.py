"""Records a minute over requests in progress, with a model server of fixed latency: ``python -m bench scaling``.

On two cores one slot of the local engine already keeps both busy, so linear scaling can only show where the model runs
elsewhere. The whole pipeline is measured: claims, requests, quality gate and commits to SQLite.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.fixed_latency import fixed_latency_server, served_engine
from bench.pipeline_run import loaded_store, stream
from bench.tables import show
from bench.workload import functions

LATENCY_SECONDS = 0.5
ROUNDS = 8
REQUESTS = (1, 2, 4, 8, 16, 20, 32, 64)
PICTURE = Path("build/scaling.png")


def over_requests(latency: float = LATENCY_SECONDS, rounds: int = ROUNDS) -> list[dict[str, float]]:
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


def main() -> int:
    """Print the table, and draw it where matplotlib is installed."""
    rows = over_requests()
    show(f"A model server with a latency of {LATENCY_SECONDS:g} s", rows)
    from bench.plots import plot_scaling

    plot_scaling(rows, PICTURE)
    print(f"A picture: {PICTURE}")
    return 0
