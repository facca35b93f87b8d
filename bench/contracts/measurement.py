"""What is measured for a contract, and what helps to measure it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from dobby_dagster.domain.contracts import CONTRACTS, Contract

T = TypeVar("T")
BY_NAME = {contract.name: contract for contract in CONTRACTS}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A contract beside its measured figure.

    Attributes:
        contract: Which one.
        group: What was measured: a backend of the store, a model.
        value: The figure in the contract's unit; None where it is unknown.
        limit: The contract's own, or the one that is set.
        note: How it was measured where that needs saying, or why it was not.
    """

    contract: Contract
    group: str
    value: float | None
    limit: float
    note: str = ""

    @property
    def verdict(self) -> str:
        """``holds``, ``BROKEN``, or ``unknown`` where it was not measured."""
        if self.value is None:
            return "unknown"
        return "holds" if self.contract.holds(self.value, self.limit) else "BROKEN"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with a note, where a number alone does not say how it was measured."""

    value: float | None
    note: str = ""


Figures = Mapping[str, float | Figure]


@dataclass(frozen=True, slots=True)
class Probe:
    """Measures some contracts at once.

    Attributes:
        group: What is measured.
        contracts: The names of the contracts that ``run`` gives a figure for.
        run: Returns the figures by the name of the contract.
        costs: Why it is left out unless it is asked for; empty: it is part of every run.
    """

    group: str
    contracts: tuple[str, ...]
    run: Callable[[], Figures]
    costs: str = ""


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_new_process(action: Callable[..., T], *arguments: Any) -> T:
    """What ``action`` returns in a process of its own, whose memory holds nothing of this one's."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(action, *arguments).result()


def selected(probes: Iterable[Probe], prefix: str) -> list[Probe]:
    """The probes that measure a contract whose name begins with ``prefix``."""
    return [probe for probe in probes if any(name.startswith(prefix) for name in probe.contracts)]
