"""The figures of the first and of the latest batches of each class: a baseline, and what is compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dobby_dagster.domain.contract_settings import BASELINE_BATCHES
from dobby_dagster.domain.contracts import PerformanceClass
from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import PERFORMANCE

LATEST_BATCHES = 3


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """Figures of one batch, by name.

    Attributes:
        finished_at: When its last chunk was finished; seconds since the epoch.
        values: Only what is known.
    """

    batch: BatchId
    recipe: RecipeId
    finished_at: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Figures of the first and the latest batches of a class, oldest first.

    >>> entries = [BatchFigures(BatchId(f"batch-{n}"), RecipeId("r"), n, {}) for n in (1, 2, 3, 4, 2)]
    >>> figures = ClassFigures(PerformanceClass("small", "cpu", "short"))
    >>> for entry in entries:
    ...     figures = figures.with_batch(entry)
    >>> [entry.batch for entry in figures.first], [entry.batch for entry in figures.latest]
    (['batch-1', 'batch-2', 'batch-3', 'batch-4'], ['batch-2', 'batch-3', 'batch-4'])
    """

    group: PerformanceClass
    first: tuple[BatchFigures, ...] = field(default=())
    latest: tuple[BatchFigures, ...] = field(default=())

    def with_batch(self, new: BatchFigures) -> ClassFigures:
        """With one more batch; a batch that was measured again keeps its place in the baseline."""
        first = self.first
        if len(first) < BASELINE_BATCHES and new.batch not in {entry.batch for entry in first}:
            first = (*first, new)
        others = [entry for entry in self.latest if (entry.batch, entry.recipe) != (new.batch, new.recipe)]
        latest = sorted([*others, new], key=lambda entry: entry.finished_at)[-LATEST_BATCHES:]
        return replace(self, first=first, latest=tuple(latest))


class Performance:
    """Figures by class; rows are few, so that reading all of them is cheap."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[ClassFigures]:
        """Every class that has figures."""
        rows = self._connection.run(f"{PERFORMANCE.head} := {PERFORMANCE.stored}").dicts()
        return [
            ClassFigures(
                PerformanceClass(row["model"], row["device"], row["prompt_length"]),
                *(tuple(BatchFigures(**entry) for entry in row[name]) for name in ("first", "latest")),
            )
            for row in rows
        ]

    def of(self, group: PerformanceClass) -> ClassFigures:
        """The figures of one class, empty where there are none."""
        return next((figures for figures in self.all() if figures.group == group), ClassFigures(group))

    def add(self, group: PerformanceClass, scope: Scope, finished_at: float, values: Mapping[str, float]) -> None:
        """Store the figures of a batch."""
        with self._connection.session(write=True):
            figures = self.of(group).with_batch(BatchFigures(scope.batch, scope.recipe, finished_at, dict(values)))
            entries: list[Any] = [[asdict(entry) for entry in part] for part in (figures.first, figures.latest)]
            row = [group.model, group.device, group.prompt_length, *entries]
            self._connection.run(PERFORMANCE.put(), {"rows": [row]}, write=True)
