"""Performance contracts as data: measured by ``bench/``, and checked by an asset check on the metrics of every batch.

They hold for the built-in model on two CPU cores. They are floors, not aims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Contract:
    """A limit on one figure.

    Attributes:
        name: Unique, as ``part.what``.
        measure: The name of the figure in metrics and benchmarks.
        limit: The bound of the figure.
        unit: The unit of the figure, for display.
        kind: Whether the limit is an upper or a lower bound.
    """

    name: str
    measure: str
    limit: float
    unit: str
    kind: Literal["at most", "at least"] = "at most"

    def holds(self, value: float) -> bool:
        """Whether ``value`` keeps the contract."""
        return value <= self.limit if self.kind == "at most" else value >= self.limit

    def describe(self, value: float) -> str:
        """The contract with a measured value, in one line."""
        return f"{self.name}: {value:,.4g} {self.unit} ({self.kind} {self.limit:,.4g})"


CONTRACTS = (
    Contract("store.ready", "ready_p95_seconds", 0.1, "s"),
    Contract("store.health", "health_p95_seconds", 0.05, "s"),
    Contract("store.get_1", "get_1_seconds", 0.05, "s"),
    Contract("store.get_100", "get_100_seconds", 0.5, "s"),
    Contract("store.get_1000", "get_1000_seconds", 5.0, "s"),
    Contract("store.first_row", "stream_first_row_seconds", 0.1, "s"),
    Contract("store.stream", "stream_rows_per_second", 1_000, "rows/s", "at least"),
    Contract("store.commit", "commit_64_seconds", 0.05, "s"),
    Contract("engine.load", "load_seconds", 10.0, "s"),
    Contract("engine.short", "short_input_seconds", 0.1, "s"),
    Contract("engine.middle", "middle_input_seconds", 0.3, "s"),
    Contract("engine.ten", "ten_inputs_seconds", 2.0, "s"),
    Contract("engine.hundred", "hundred_inputs_seconds", 15.0, "s"),
    Contract("pipeline.throughput", "records_per_second", 1_000 / 60, "records/s", "at least"),
    Contract("pipeline.inference", "latency_mean_seconds", 0.05, "s"),
    Contract("pipeline.errors", "error_rate", 0.01, "of all records"),
    Contract("pipeline.memory", "memory_bytes", 8e9, "bytes"),
)


def broken(values: Mapping[str, object]) -> list[str]:
    """The contracts that the figures in ``values`` break, one line each; a missing figure breaks none."""
    lines = []
    for contract in CONTRACTS:
        value = values.get(contract.measure)
        if isinstance(value, int | float) and not contract.holds(float(value)):
            lines.append(contract.describe(float(value)))
    return lines
