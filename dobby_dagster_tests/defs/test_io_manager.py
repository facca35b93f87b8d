"""Tables of CozoDB as inputs and outputs of assets."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from dobby_dagster.defs.assets import metrics, pending_records, summaries
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.domain.scope import NO_RECIPE, BatchId, Scope
from dobby_dagster_tests.helpers.run_world import RunWorld, values_of

DOWNSTREAM = {
    "partitions_def": record_batch_partitions,
    "io_manager_key": "cozo",
    "backfill_policy": dg.BackfillPolicy.single_run(),
}


@pytest.mark.slow
def test_the_io_manager_loads_every_table_as_pandas_or_arrow(world: RunWorld) -> None:
    partitions = world.plan()
    world.run(partitions[0], partitions[-2])
    seen: dict[str, Any] = {}

    @dg.asset(**DOWNSTREAM, metadata={"dobby/table": "metrics"})
    def as_pandas(metrics: pd.DataFrame, summaries: pd.DataFrame, pending_records: pd.DataFrame) -> pd.DataFrame:
        seen["pandas"] = [metrics, summaries, pending_records]
        return metrics

    @dg.asset(**DOWNSTREAM, metadata={"dobby/table": "metrics"})
    def as_arrow(metrics: pa.Table, summaries: pa.Table, pending_records: pa.Table) -> pa.Table:
        seen["arrow"] = [metrics, summaries, pending_records]
        return pa.table({"batch": ["b"], "x": [1.5]})

    tags = {"dagster/asset_partition_range_start": partitions[0], "dagster/asset_partition_range_end": partitions[2]}
    chain = [pending_records, summaries, metrics]
    result = world.materialize([*chain, as_pandas, as_arrow], tags=tags, selection=[as_pandas, as_arrow])
    assert result.success
    recipe = world.store.recipes.latest() or NO_RECIPE
    stored = [row for batch in partitions for row in world.store.batch_reports.summaries(Scope(recipe, BatchId(batch)))]
    for frame, table in zip(seen["pandas"], seen["arrow"], strict=True):
        assert frame.to_dict("records") == table.to_pylist()
    measured, made, pending = seen["arrow"]
    assert measured.column("batch").to_pylist() == partitions[:2]
    assert sorted(made.column("text").to_pylist()) == sorted(row["text"] for row in stored)
    assert set(made.column("partition").to_pylist()) == set(partitions[:2])
    assert pending.column("key").to_pylist() == ["k10", "k11"]
    assert set(pending.column("batch").to_pylist()) == {partitions[2]}


def test_a_partition_without_rows_loads_as_an_empty_table(world: RunWorld) -> None:
    [first, *_] = world.plan()
    seen: list[Any] = []

    @dg.asset(partitions_def=record_batch_partitions)
    def looking(summaries: pd.DataFrame, metrics: pa.Table) -> None:
        seen.extend([summaries, metrics])

    assert world.materialize([pending_records, summaries, metrics, looking], partition_key=first, selection=[looking])
    assert [len(table) for table in seen] == [0, 0]
    assert {"key", "text", "confidence", "partition"} <= set(seen[0].columns)
    assert seen[1].column_names == ["batch"]


def test_what_the_io_manager_can_not_store_is_named(world: RunWorld) -> None:
    [first, *_] = world.plan()

    @dg.asset(**DOWNSTREAM, metadata={"dobby/table": "nope"})
    def unknown() -> pa.Table:
        return pa.table({})

    @dg.asset(**DOWNSTREAM, metadata={"dobby/table": "metrics"})
    def wrong() -> int:
        return 3

    @dg.asset(**DOWNSTREAM, metadata={"dobby/table": "summaries"})
    def frame() -> pd.DataFrame:
        return pd.DataFrame({"key": ["k00"], "text": ["A text."]})

    for asset, message in (
        (unknown, "'dobby/table' = 'nope'; tables are: pending, summaries, metrics"),
        (wrong, "returned int; the CozoDB IO manager stores a pandas DataFrame or an Arrow table there"),
        (frame, "returned DataFrame; the CozoDB IO manager stores a SummaryStream there"),
    ):
        failed = world.materialize([asset], partition_key=first)
        assert message in str([event.event_specific_data for event in failed.all_events if event.is_failure])


def test_the_example_of_a_downstream_asset_in_the_documents_runs(world: RunWorld) -> None:
    partitions = world.plan()
    assert world.run(partitions[0]).success
    text = (Path(__file__).parents[2] / "docs" / "operation.md").read_text()
    [block] = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "short_summaries" in code]
    names: dict[str, Any] = {}
    exec(block, names)
    result = world.materialize(
        [pending_records, summaries, metrics, names["short_summaries"]],
        partition_key=partitions[0],
        selection=[names["short_summaries"]],
    )
    assert result.success
    [value] = values_of(result, "short_summaries").values()
    rows = world.store.batch_reports.summaries(Scope(world.store.recipes.latest() or NO_RECIPE, BatchId(partitions[0])))
    assert value["short"] == sum(len(row["text"]) < 40 for row in rows)
