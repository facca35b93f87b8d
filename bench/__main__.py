"""All benchmarks, as Markdown: ``python -m bench [peers] [engine] [end] [automation] [large] [arrivals] [site]``.

``python -m bench contracts --help`` measures the performance contracts, ``python -m bench engines --help`` compares the
summaries and the speed of all engines, and ``python -m bench scaling`` measures a model server's concurrency.
``python -m bench scale --help`` finds where the database, Dagster and the commands end, with simulated engines.
``python -m bench install`` measures what an installation and each extra take.
``python -m bench dashboard`` draws the data of the Grafana dashboard. ``python -m bench faults --help`` says how faults
are injected into the store, and ``python -m bench soak --help`` how a whole system runs for long while its processes are
killed. ``python -m bench search --help`` measures how well functions are found by what their authors say of them,
``python -m bench questions --help`` how well by questions in ordinary words.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from bench import automation, compare, end_to_end, engine, plots, shares, site
from bench.tables import show, table
from dobby_dagster.domain.contracts import SMALL_MODEL

PICTURE = Path("build/performance.png")


def main(wanted: list[str]) -> None:
    """Run what is wanted; all but the long ones where nothing is named."""
    chosen = wanted or ["peers", "engine", "end", "automation"]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    if "peers" in chosen:
        with tempfile.TemporaryDirectory() as place:
            for title, rows in compare.compare(Path(place)):
                print(f"### {title}\n")
                table(compare.HEADERS, rows)
    if "engine" in chosen:
        slots, lengths = engine.over_slots(), engine.by_prompt_length()
        show("Throughput over slots", slots)
        show("Cost by prompt length", lengths)
        if find_spec("matplotlib"):
            plots.plot(slots, lengths, PICTURE)
            print(f"A picture of both: {PICTURE}\n")
        show("What the backends write", engine.quality())
        show("Precision and reproducible mode", engine.reproducible())
    if "end" in chosen:
        show("End to end", [end_to_end.run(records) for records in (500, 2_000)])
        show("Where the time goes, 2,000 records", shares.run(2_000))
    if "automation" in chosen:
        show("Ticks", [automation.cost_of_ticks(batches) for batches in (1_000, 10_000, 40_000)])
    if "arrivals" in chosen:
        show("An hour of arrivals", automation.arrivals())
    if "site" in chosen:
        show("A static site", site.run())
    if "large" in chosen:
        show("End to end", [end_to_end.run(20_000)])
        show("Where the time goes, 20,000 records", shares.run(20_000))


if __name__ == "__main__":
    os.environ.setdefault("MODEL_PATH", SMALL_MODEL)  # the model that all published figures are of
    if sys.argv[1:2] == ["faults"]:
        from bench import faults  # it needs what the tests need

        sys.exit(faults.main(sys.argv[2:]))
    if sys.argv[1:2] == ["dashboard"]:
        from bench import dashboard

        dashboard.draw(*map(Path, sys.argv[2:3]))
        sys.exit()
    if sys.argv[1:2] == ["install"]:
        from bench import install_size

        sys.exit(install_size.main(sys.argv[2:]))
    if sys.argv[1:2] == ["scaling"]:
        from bench import scaling

        sys.exit(scaling.main())
    if sys.argv[1:2] == ["engines"]:
        from bench import engine_agreement

        sys.exit(engine_agreement.main(sys.argv[2:]))
    if sys.argv[1:2] == ["contracts"]:
        from bench.contracts import command

        sys.exit(command.main(sys.argv[2:]))
    if sys.argv[1:2] == ["scale"]:
        from bench.scale import command as scale

        sys.exit(scale.main(sys.argv[2:]))
    if sys.argv[1:2] == ["questions"]:
        from bench.search import questions

        sys.exit(questions.main(sys.argv[2:]))
    if sys.argv[1:2] == ["search"]:
        from bench.search import command as search

        sys.exit(search.main(sys.argv[2:]))
    if sys.argv[1:2] == ["soak"]:
        from bench.soak import command as soak

        sys.exit(soak.main(sys.argv[2:]))
    main(sys.argv[1:])
