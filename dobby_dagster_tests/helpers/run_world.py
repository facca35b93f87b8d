"""Runs of the assets in this process."""

from typing import Any

import dagster as dg

from dobby_dagster.defs.assets import metrics, outlines, pending_records, record_batches, source_records, summaries
from dobby_dagster.defs.builders import build_resources
from dobby_dagster.defs.checks import performance_contracts, summaries_invariants
from dobby_dagster_tests.helpers.world import World

CODE = {f"k{i:02d}": f"def add_{i}(a, b):\n    return a + b + {i}\n" for i in range(12)}


class RunWorld(World):
    """Runs of the assets."""

    def materialize(self, assets: list[Any], **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            assets, instance=self.instance, resources=build_resources(self.settings), raise_on_error=False, **options
        )

    def plan(self) -> list[str]:
        result = self.materialize([source_records, record_batches])
        assert result.success
        return self.partitions

    def run(self, first: str, last: str | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
        assets = [pending_records, summaries, outlines, metrics, summaries_invariants, performance_contracts]
        return self.materialize(assets, tags=tags, **options)

    @property
    def status(self) -> dict[str, int]:
        return self.store.reports.status("record", self.store.recipes.latest())


def values_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str | None, dict[str, Any]]:
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {
        e.partition: {name: value.value for name, value in e.metadata.items()}
        for e in events
        if e.asset_key.to_user_string() == asset
    }
