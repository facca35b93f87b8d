"""The asset check of the performance contracts, in real runs with the model that the limits hold for."""

from typing import Any

import dagster as dg
import pytest

from dobby_dagster.defs.assets import metrics, pending_records, record_batches, source_records, summaries
from dobby_dagster.defs.builders import build_resources
from dobby_dagster.defs.checks import performance_contracts
from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.pipeline.monitoring.contract_results import broken_contracts
from dobby_dagster_tests.helpers.model_server import Scripted, said
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.world import Make, World

CODE = {f"k{i:02d}": f"def add_{i}(a, b):\n    return a + b + {i}\n" for i in range(60)}
KEPT = {"pipeline_records_per_second": 0.001, "pipeline_latency_mean_seconds": 900.0, "pipeline_error_rate": 1.0}


def checked(world: World) -> dg.AssetCheckEvaluation:
    """The evaluation of the check after a run of the first batch."""
    put(world.store, CODE)
    options: dict[str, Any] = {"instance": world.instance, "resources": build_resources(world.settings)}
    dg.materialize([source_records, record_batches], **options)
    chain = [pending_records, summaries, metrics, performance_contracts]
    result = dg.materialize(chain, partition_key="batch-000001", **options)
    [check] = result.get_asset_check_evaluations()
    assert result.success
    return check


@pytest.mark.parametrize(
    ("limits", "broken"),
    [
        (KEPT, []),
        (KEPT | {"pipeline_records_per_second": 1e6}, ["pipeline_records_per_second"]),
        (KEPT | {"classes": [{"device": "cpu", "pipeline_memory_bytes": 1}]}, ["pipeline_memory_bytes"]),
        (KEPT | {"classes": [{"device": "cuda", "pipeline_memory_bytes": 1}]}, []),
    ],
)
def test_a_limit_that_a_run_breaks_is_a_warning(make_settings: Make, limits: dict[str, Any], broken: list[str]) -> None:
    named = {f"contracts__{name}": value for name, value in limits.items()}
    world = World(make_settings(model__path=SMALL_MODEL, model__device="cpu", **named))
    check = checked(world)
    assert check.passed == (not broken)
    assert check.severity == dg.AssetCheckSeverity.WARN
    shown = {name: value.value for name, value in check.metadata.items()}
    assert (shown["measured"], shown["unknown"], shown["broken"]) == (4, 0, len(broken))
    assert all(f"batch-000001: {name}: " in str(shown["first"]) for name in broken)
    assert [result.contract.name for result in broken_contracts(world.store, world.settings)] == broken


def test_a_model_without_limits_is_unknown_until_it_has_a_baseline(make_settings: Make) -> None:
    with Scripted(lambda number, body: said("It adds a and b.")) as server:
        world = World(make_settings(model__url=server.url, model__served_name="small"))
        check = checked(world)
    shown = {name: value.value for name, value in check.metadata.items()}
    assert check.passed
    assert (shown["measured"], shown["unknown"], shown["broken"]) == (1, 3, 0), "only the error rate has a limit"
    [figures] = world.store.performance.all()
    assert (figures.group.model, figures.group.device) == ("small", "server")
