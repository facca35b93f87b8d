"""Performance contracts are data, and a broken one is named with its figure."""

from dobby_dagster.domain.contracts import CONTRACTS, broken
from dobby_dagster.domain.scope import Scope
from dobby_dagster.pipeline.reporting.batch_metrics import batch_metrics
from dobby_dagster.store.cozo_store import CozoStore


def test_broken_contracts_are_named_and_missing_figures_break_none() -> None:
    assert broken({}) == []
    assert broken({"error_rate": 0.01, "records_per_second": 17.0, "last_error": "x"}) == []
    assert broken({"error_rate": 0.02, "records_per_second": 1.5}) == [
        "pipeline.throughput: 1.5 records/s (at least 16.67)",
        "pipeline.errors: 0.02 of all records (at most 0.01)",
    ]


def test_names_are_unique_and_the_pipelines_figures_are_those_that_metrics_have(sqlite_store: CozoStore) -> None:
    assert len({contract.name for contract in CONTRACTS}) == len(CONTRACTS)
    values = batch_metrics(sqlite_store, Scope("recipe", "batch-000001"))
    assert {c.measure for c in CONTRACTS if c.name.startswith("pipeline.")} <= set(values)
