"""Contracts beside what batches took: limits of the built-in model, baselines of others, and what is unknown."""

from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.contract_settings import ContractSettings
from dobby_dagster.domain.contracts import PER_BATCH, SMALL_MODEL, PerformanceClass
from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.monitoring.contract_results import (
    broken_contracts,
    latest_results,
    note_batch,
    results,
    results_of_batches,
)
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.performance import BASELINE_BATCHES, BatchFigures, ClassFigures

OTHER = PerformanceClass("small", "cpu", "short")
DEFAULTS = ContractSettings()
speeds = st.floats(0.01, 1e6)


def values(speed: float = 100.0, **others: Any) -> dict[str, Any]:
    made = {"records_inferred": 60, "records_per_second": speed, "latency_mean_seconds": 1 / speed, "error_rate": 0.0}
    return made | {"memory_bytes": 10**9, "prompt_tokens_mean": 50.0, "device": "cpu", "finished_at": 1.0} | others


def entry(number: int, speed: float) -> BatchFigures:
    return BatchFigures(BatchId(f"batch-{number:06d}"), RecipeId("r"), float(number), {"records_per_second": speed})


def speed_result(figures: ClassFigures, batches: list[BatchFigures], settings: ContractSettings = DEFAULTS) -> Any:
    return next(r for r in results(figures, batches, settings) if r.contract.measure == "records_per_second")


def history(speeds: list[float], group: PerformanceClass = OTHER) -> ClassFigures:
    figures = ClassFigures(group)
    for number, speed in enumerate(speeds, 1):
        figures = figures.with_batch(entry(number, speed))
    return figures


@given(st.lists(speeds, max_size=30), speeds, st.integers(1, BASELINE_BATCHES), st.floats(0.05, 0.95))
def test_a_model_without_limits_is_compared_with_its_own_first_batches(
    before: list[float], speed: float, count: int, share: float
) -> None:
    figures = history(before)
    result = speed_result(figures, [entry(99, speed)], ContractSettings(baseline_batches=count, regression=share))
    if len(before) < count:
        assert (result.holds, result.limit, result.origin) == (None, None, "unknown")
    else:
        assert result.origin == "baseline"
        assert result.holds == (speed >= median(before[:count]) * (1 - share))


@given(st.lists(speeds, min_size=1, max_size=60))
def test_the_first_batches_stay_and_the_latest_are_few(speeds: list[float]) -> None:
    figures = history(speeds)
    assert [e.values["records_per_second"] for e in figures.first] == speeds[:BASELINE_BATCHES]
    assert [e.values["records_per_second"] for e in figures.latest] == speeds[-3:]


def test_the_built_in_model_has_the_contracts_limits_and_a_setting_replaces_them() -> None:
    built_in = ClassFigures(PerformanceClass(SMALL_MODEL, "cpu", "short"))
    assert (slow := speed_result(built_in, [entry(1, 19.0)])).holds is False
    assert str(slow) == (
        f"pipeline_records_per_second: 19 records/s (at least 20); {SMALL_MODEL} on cpu, short prompts"
    )
    assert speed_result(built_in, [entry(1, 20.0)]).holds is True
    settings = ContractSettings(pipeline_records_per_second=10)
    assert speed_result(built_in, [entry(1, 19.0)], settings).holds is True
    assert speed_result(ClassFigures(OTHER), [entry(1, 9.0)], settings).holds is False


def test_what_was_not_measured_is_unknown_and_not_kept(sqlite_store: CozoStore) -> None:
    built_in = ClassFigures(PerformanceClass(SMALL_MODEL, "cpu", "short"))
    batch = BatchFigures(BatchId("b"), RecipeId("r"), 0.0, {})
    found = list(results(built_in, [batch], DEFAULTS))
    assert len(found) == len(PER_BATCH)
    assert {result.holds for result in found} == {None}
    assert broken_contracts(sqlite_store, Settings()) == []


def noted(store: CozoStore, number: int, speed: float, model: str = "small", **others: Any) -> Scope:
    recipe = Recipe("p", "text", model, model, {})
    store.recipes.remember(recipe)
    scope = Scope(recipe.id, BatchId(f"batch-{number:06d}"))
    measured = values(speed, finished_at=float(number), **others)
    store.batch_reports.save_metrics(scope, measured)
    note_batch(store, scope, model, measured)
    return scope


def test_a_regression_against_the_first_batches_is_seen_from_the_ledger(store: CozoStore) -> None:
    for number in range(1, 7):
        noted(store, number, 100.0)
        assert broken_contracts(store, Settings()) == []
    noted(store, 7, 60.0)
    assert broken_contracts(store, Settings()) == [], "one slow batch of three"
    scope = noted(store, 8, 60.0)
    assert [str(result) for result in broken_contracts(store, Settings())] == [
        "pipeline_records_per_second: 60 records/s (at least 70), by the first batches; small on cpu, short prompts",
        "pipeline_latency_mean_seconds: 0.01667 s (at most 0.013), by the first batches; small on cpu, short prompts",
    ]
    tolerant = Settings(contracts=ContractSettings(regression=0.9))
    assert broken_contracts(store, tolerant) == []
    recipe = Recipe("p", "text", "small", "small", {})
    one = results_of_batches(store, recipe, [scope.batch, BatchId("batch-000001")], ContractSettings())
    assert [(r.batches, r.holds) for r in one if r.contract.measure == "records_per_second"] == [
        (("batch-000008",), False), (("batch-000001",), True),
    ]  # fmt: skip


def test_each_class_has_its_own_baseline_and_the_recipe_in_use_counts(sqlite_store: CozoStore) -> None:
    store = sqlite_store
    for number in range(1, 4):
        noted(store, number, 100.0)
        noted(store, number + 10, 5.0, prompt_tokens_mean=800.0)
        noted(store, number + 20, 2.0, device="cuda")
    assert broken_contracts(store, Settings()) == []
    assert {str(result.group) for result in latest_results(store, Settings())} == {
        "small on cpu, short prompts", "small on cpu, long prompts", "small on cuda, short prompts",
    }  # fmt: skip
    noted(store, 40, 1.0, model=SMALL_MODEL)
    assert {result.group.model for result in broken_contracts(store, Settings())} == {SMALL_MODEL}
    noted(store, 41, 100.0)
    assert broken_contracts(store, Settings()) == []


def test_a_batch_that_inferred_little_or_nothing_says_nothing_of_speed(sqlite_store: CozoStore) -> None:
    noted(sqlite_store, 1, 0.1, model=SMALL_MODEL, records_inferred=0)
    assert sqlite_store.performance.all() == []
    noted(sqlite_store, 2, 0.1, model=SMALL_MODEL, records_inferred=3, error_rate=0.5)
    assert [result.contract.measure for result in broken_contracts(sqlite_store, Settings())] == ["error_rate"]


def test_figures_that_cant_be_stored_are_a_warning(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*ignored: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(sqlite_store.performance, "add", refuse)
    noted(sqlite_store, 1, 5.0)
    assert "figures of batch-000001 are not stored for its performance contracts: disk full" in caplog.text
