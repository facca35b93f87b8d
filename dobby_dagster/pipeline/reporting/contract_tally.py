"""How the batches of a report keep their performance contracts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from dobby_dagster.domain.contracts import Contract, PerformanceClass
from dobby_dagster.pipeline.monitoring.contract_results import ContractResult


@dataclass(slots=True)
class ContractTally:
    """One contract over all batches of a class.

    Attributes:
        contract: Which one.
        group: The model, device and prompt length.
        limit: Its bound; None: unknown, so far.
        values: The known figures of batches.
        broken: How many of them break it.
    """

    contract: Contract
    group: PerformanceClass
    limit: float | None
    values: list[float] = field(default_factory=list)
    broken: int = 0

    @property
    def median(self) -> float | None:
        """Of the known figures."""
        return median(self.values) if self.values else None


def tally_contracts(results: Iterable[ContractResult]) -> list[ContractTally]:
    """The results of batches by contract and class: the most often broken one first."""
    found: dict[tuple[str, PerformanceClass], ContractTally] = {}
    for result in results:
        key = result.contract.name, result.group
        tally = found.setdefault(key, ContractTally(result.contract, result.group, result.limit))
        if result.value is not None:
            tally.values.append(result.value)
            tally.broken += result.holds is False
    return sorted(found.values(), key=lambda tally: -tally.broken)
