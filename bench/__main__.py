"""All benchmarks, as Markdown tables: ``python -m bench [engine] [store] [end] [automation] [soak] [arrivals]``."""

from __future__ import annotations

import os
import platform
import sys

from bench import automation, end_to_end, engine, store
from dobby_dagster.domain.contracts import CONTRACTS


def table(headers: list[str], rows: list[list[object]]) -> None:
    """Print one Markdown table."""
    print("| " + " | ".join(headers) + " |\n|" + "---|" * len(headers))
    for row in rows:
        print("| " + " | ".join(f"{cell:,.4g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    print(flush=True)


def show_contracts(values: dict[str, float]) -> None:
    """Print the contracts that ``values`` has figures for."""
    known = [contract for contract in CONTRACTS if contract.measure in values]
    rows: list[list[object]] = [
        [
            c.name,
            values[c.measure],
            c.unit,
            f"{c.kind} {c.limit:,.4g}",
            "kept" if c.holds(values[c.measure]) else "BROKEN",
        ]
        for c in known
    ]
    table(["contract", "measured", "unit", "limit", ""], rows)


def main(wanted: list[str]) -> None:
    """Run what is wanted; everything where nothing is named."""
    chosen = wanted or ["engine", "store", "end", "automation"]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    if "engine" in chosen:
        contents = engine.main_contents()
        rates = engine.compare(contents)
        base = rates["dobby, 20 slots"]
        table(
            ["engine", "records a minute", "of Dobby's"], [[name, value, value / base] for name, value in rates.items()]
        )
        slots = engine.over_slots(contents)
        table(
            ["slots", "records a minute", "times one slot"],
            [[n, value, value / slots[1]] for n, value in slots.items()],
        )
        show_contracts(engine.contracts())
    if "store" in chosen:
        show_contracts(store.contracts())
    if "end" in chosen:
        rows = [end_to_end.run(records) for records in (500, 2_000)]
        table(list(rows[0]), [list(row.values()) for row in rows])
    if "automation" in chosen:
        rows = [automation.cost_of_ticks(batches) for batches in (1_000, 10_000, 40_000)]
        table(list(rows[0]), [list(row.values()) for row in rows])
    if "arrivals" in chosen:
        rows = automation.arrivals()
        table(list(rows[0]), [list(row.values()) for row in rows])
    if "soak" in chosen:
        rows = [end_to_end.run(20_000)]
        table(list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    main(sys.argv[1:])
