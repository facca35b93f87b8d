"""Which performance contracts the last batches break: against limits, or against the model's own first batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, TypeAlias

from dobby_dagster.domain.contract_settings import ContractSettings
from dobby_dagster.domain.contracts import PER_BATCH, Contract, PerformanceClass
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.performance import BatchFigures, ClassFigures

log = logging.getLogger("dobby")

# Inferred records below which a batch says nothing about amortised speed.
FEWEST_RECORDS = 50
_AMORTISED = {"records_per_second", "latency_mean_seconds"}

Origin: TypeAlias = Literal["contract", "setting", "baseline", "unknown"]


@dataclass(frozen=True, slots=True)
class ContractResult:
    """A contract beside a measured figure.

    Attributes:
        contract: Which one.
        group: The model, device and prompt length that were measured.
        value: The figure, in the contract's unit; None: unknown.
        limit: Its bound; None: unknown, so far.
        origin: Where the limit is from.
        batches: The batches that were measured.
    """

    contract: Contract
    group: PerformanceClass
    value: float | None
    limit: float | None
    origin: Origin
    batches: tuple[BatchId, ...] = ()

    @property
    def holds(self) -> bool | None:
        """Whether the contract holds; None where the figure or the limit is unknown."""
        if self.value is None or self.limit is None:
            return None
        return self.contract.holds(self.value, self.limit)

    def __str__(self) -> str:
        """The contract with figure, limit and class, in one line."""
        if self.value is None or self.limit is None:
            return f"{self.contract.name}: unknown"
        compared = {"baseline": ", by the first batches", "setting": ", by [contracts]"}.get(self.origin, "")
        return f"{self.contract.describe(self.value, self.limit)}{compared}; {self.group}"


def batch_figures(values: Mapping[str, Any]) -> dict[str, float]:
    """The known figures of the contracts in the metrics of a batch; none of a batch without an inference.

    >>> batch_figures({"records_inferred": 2, "records_per_second": 9.0, "error_rate": 0.5, "memory_bytes": 7})
    {'memory_bytes': 7.0, 'error_rate': 0.5}
    """
    inferred = values.get("records_inferred") or 0
    few = _AMORTISED if inferred < FEWEST_RECORDS else set()
    known = {c.measure: values.get(c.measure) for c in PER_BATCH if c.measure not in few}
    return {name: float(value) for name, value in known.items() if value is not None} if inferred else {}


def results(
    figures: ClassFigures, batches: Sequence[BatchFigures], settings: ContractSettings
) -> Iterator[ContractResult]:
    """Every contract of a batch beside the median figure of ``batches``, which are of the class of ``figures``."""
    for contract in PER_BATCH:
        known = [entry for entry in batches if contract.measure in entry.values]
        value = median(entry.values[contract.measure] for entry in known) if known else None
        limit, origin = _limit(contract, figures, settings)
        yield ContractResult(contract, figures.group, value, limit, origin, tuple(entry.batch for entry in known))


def note_batch(store: CozoStore, scope: Scope, model: str, values: Mapping[str, Any]) -> None:
    """Store a batch's figures with its class, as part of its baseline and of the latest; a failure is a warning."""
    figures = batch_figures(values)
    if not figures:
        return
    try:
        store.performance.add(class_of(model, values), scope, values.get("finished_at") or 0.0, figures)
    except DobbyError as error:
        log.warning("the figures of %s are not stored for its performance contracts: %s", scope.batch, error)


def class_of(model: str, values: Mapping[str, Any]) -> PerformanceClass:
    """The class that the metrics of a batch belong to."""
    return PerformanceClass.of(model, values.get("device"), values.get("prompt_tokens_mean"))


def results_of_batches(
    store: CozoStore, recipe: Recipe, batches: Sequence[BatchId], settings: ContractSettings
) -> list[ContractResult]:
    """Every contract beside the stored metrics of each batch that has inferred something under ``recipe``."""
    rows = (row for batch in batches for row in store.batch_reports.metrics(batch) if row["recipe"] == recipe.id)
    return list(results_of_metrics(store, recipe.model, rows, settings))


def results_of_metrics(
    store: CozoStore, model: str, rows: Iterable[Mapping[str, Any]], settings: ContractSettings
) -> Iterator[ContractResult]:
    """As :func:`results_of_batches`, of ``rows`` with a batch, its recipe and the values of its metrics."""
    by_class = {figures.group: figures for figures in store.performance.all()}
    for row in rows:
        group = class_of(model, row["values"])
        entry = BatchFigures(row["batch"], row["recipe"], 0.0, batch_figures(row["values"]))
        if entry.values:
            yield from results(by_class.get(group, ClassFigures(group)), [entry], settings)


def latest_results(store: CozoStore, settings: Settings) -> list[ContractResult]:
    """Every contract beside the last batches of the recipe in use, by class: the median of up to three batches."""
    recipe = store.recipes.latest()
    found: list[ContractResult] = []
    for figures in store.performance.all():
        if batches := [entry for entry in figures.latest if entry.recipe == recipe]:
            found += results(figures, batches, settings.contracts)
    return found


def broken_contracts(store: CozoStore, settings: Settings) -> list[ContractResult]:
    """The contracts that the last batches of the recipe in use break; empty also where nothing was measured."""
    return [result for result in latest_results(store, settings) if result.holds is False]


def _limit(contract: Contract, figures: ClassFigures, settings: ContractSettings) -> tuple[float | None, Origin]:
    """The limit that is set, else the contract's own where it applies, else the baseline's."""
    chosen = settings.limit(contract.name, figures.group)
    if chosen is not None:
        return chosen, "setting"
    if contract.any_model or figures.group.is_reference:
        return contract.limit, "contract"
    first = [entry.values[contract.measure] for entry in figures.first if contract.measure in entry.values]
    if len(first) < settings.baseline_batches:
        return None, "unknown"
    return contract.regressed(median(first[: settings.baseline_batches]), settings.regression), "baseline"
