"""The assets in Dagster, in this process: runs over ranges, failures, checks, the IO manager."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from dagster._config import resolve_defaults

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs import progress_log
from dobby_dagster.defs.assets import metrics, pending_records, record_batches, source_records, summaries
from dobby_dagster.defs.builders import build_assets, build_resources
from dobby_dagster.defs.checks import performance_contracts, summaries_invariants
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.runs.batch_runs import ranges
from dobby_dagster.defs.runs.dagster_home import dagster_home
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import NO_RECIPE, BatchId, Scope
from dobby_dagster.domain.settings import BUILT_IN_MODEL, ModelSettings, Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.inference.engine_pool import PooledEngine
from dobby_dagster.inference.loaded_models import loaded_models
from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster_tests.helpers.flawed_engine import Faults
from dobby_dagster_tests.helpers.local_engines import edited
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.world import Make, World

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
        assets = [pending_records, summaries, metrics, summaries_invariants, performance_contracts]
        return self.materialize(assets, tags=tags, **options)

    @property
    def status(self) -> dict[str, int]:
        return self.store.reports.status("record", self.store.recipes.latest())


@pytest.fixture
def world(make_settings: Make) -> RunWorld:
    made = RunWorld(make_settings(pipeline__batch_size=5, pipeline__chunk_size=3, model__device="cpu"))
    put(made.store, CODE)
    return made


def values_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str | None, dict[str, Any]]:
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {
        e.partition: {name: value.value for name, value in e.metadata.items()}
        for e in events
        if e.asset_key.to_user_string() == asset
    }


def test_definitions_load_and_tell_the_story(make_settings: Make) -> None:
    definitions = build_definitions(make_settings())
    dg.Definitions.validate_loadable(definitions)
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert set(specs) == {"source_records", "record_batches", "pending_records", "summaries", "metrics"}
    for spec in specs.values():
        assert spec.description
        assert spec.owners
        assert spec.kinds
    groups = {name: spec.group_name for name, spec in specs.items()}
    assert groups == {
        "source_records": "source", "record_batches": "source", "pending_records": "inference", "summaries": "inference",
        "metrics": "reporting",
    }  # fmt: skip
    schema = specs["summaries"].metadata["dagster/column_schema"]
    columns = {column.name: (column.type, column.constraints.nullable) for column in schema.columns}
    assert columns["text"] == ("String", False)
    assert columns["confidence"] == ("Float", True)
    assert {job.name for job in definitions.resolve_all_job_defs()} >= {"plan_batches", "summarize_batches"}


@pytest.mark.parametrize(("named", "most"), [({}, 16), ({"dagster__partitions_per_run": 3}, 3)])
def test_one_backfill_policy_on_the_whole_chain(make_settings: Make, named: dict[str, int], most: int) -> None:
    graph = build_definitions(make_settings(**named)).resolve_asset_graph()
    assert {graph.get(asset.key).backfill_policy for asset in (pending_records, summaries, metrics)} == {
        dg.BackfillPolicy.multi_run(max_partitions_per_run=most)
    }
    assert {asset.partitions_def for asset in (pending_records, summaries, metrics)} == {record_batch_partitions}


def test_a_launchpad_is_not_filled_with_the_settings(make_settings: Make) -> None:
    """Its default configuration names no setting, so that what a person writes there is all that differs."""
    for job in build_definitions(make_settings(pipeline__batch_size=7)).resolve_all_job_defs():
        resources = resolve_defaults(job.run_config_schema.config_type, {}).value["resources"]
        for name in ("database", "models", "options"):
            values = resources.get(name, {}).get("config", {})
            assert {key: value for key, value in values.items() if value != {}} == {}, (job.name, name)


def test_a_run_takes_from_its_configuration_what_is_there_and_the_rest_from_the_settings(world: RunWorld) -> None:
    partition, *_ = world.plan()
    config = {"resources": {"models": {"config": {"inference": {"max_new_tokens": 3}}}}}
    assert world.run(partition, run_config=config).success
    [recipe] = world.store.recipes.all()
    assert (recipe["settings"]["max_new_tokens"], recipe["model"]) == (3, BUILT_IN_MODEL)


def test_the_source_is_observed(world: RunWorld) -> None:
    world.plan()
    found = world.instance.fetch_observations(source_records.key, limit=1).records[0].asset_observation
    assert found is not None
    values = {name: value.value for name, value in found.metadata.items()}
    assert (values["relation"], values["dagster/row_count"]) == ("record", 12)
    assert values["change_tracking"].startswith("queue: ")
    assert 0 <= time.time() - values["last_change"] < 600


def test_the_progress_of_a_partition_is_in_the_log(world: RunWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_log, "INTERVAL_SECONDS", 0.0)
    partition, *_ = world.plan()
    result = world.run(partition)
    lines = [record.user_message for record in world.instance.all_logs(result.run_id)]
    told = [line for line in lines if line.startswith(f"{partition}: ")]
    assert [line.partition(" committed")[0] for line in told] == [f"{partition}: {n} of 5 records" for n in (3, 5)]


def test_importing_the_definitions_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, dobby_dagster.definitions; print([m for m in ('torch', 'transformers', 'pandas', 'pycozo') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_range_of_partitions_in_one_run(world: RunWorld) -> None:
    partitions = world.plan()
    assert partitions == ["batch-000001", "batch-000002", "batch-000003"]
    result = world.run(partitions[0], partitions[-1])
    assert result.success
    assert (world.status["completed"] + world.status["failed"], world.status["pending"]) == (12, 0)
    assert [values_of(result, "pending_records")[p]["dagster/partition_row_count"] for p in partitions] == [5, 5, 2]
    shown = values_of(result, "summaries")["batch-000001"]
    assert shown["records_completed"] + shown["records_failed"] == 5
    assert shown["records_per_minute"] > 0
    assert shown["device_wait_seconds"] >= 0
    assert shown["queue_mean_seconds"] >= 0
    assert "| `k00` |" in shown["samples"]
    measured = values_of(result, "metrics")["batch-000003"]
    assert measured["records"] == 2
    assert {"latency_p99_seconds", "memory_bytes", "cpu_cores", "slots_in_use", "error_rate", "confidence_mean"} <= set(
        measured
    )
    assert len(world.store.batch_reports.metrics()) == 3
    checks = {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    del checks["performance_contracts"]  # it ran; how fast is not for a test to say
    assert checks == {
        "members_accounted_for": True, "summaries_are_sound": True, "completed_have_summaries": True,
        "error_rate": world.status["failed"] == 0,
    }  # fmt: skip


def test_a_second_materialization_infers_nothing(world: RunWorld) -> None:
    partitions = world.plan()
    world.run(partitions[0])
    before = world.store.batch_reports.chunks(Scope(world.store.recipes.latest() or NO_RECIPE, partitions[0]))
    again = world.run(partitions[0])
    assert again.success
    assert world.store.batch_reports.chunks(Scope(world.store.recipes.latest() or NO_RECIPE, partitions[0])) == before
    assert values_of(again, "pending_records")[partitions[0]]["dagster/partition_row_count"] == 0


def test_partitions_that_a_dead_planner_left_out_are_added(world: RunWorld) -> None:
    from dobby_dagster.pipeline.planning.planner import plan

    plan(world.store, world.store.source(world.settings.source), 5)
    assert world.partitions == []
    assert len(world.plan()) == 3


@pytest.mark.slow
def test_a_partition_with_too_many_failures_is_red_and_the_others_are_not(world: RunWorld, faults: Faults) -> None:
    partitions = world.plan()
    faults.set("add_1(", "add_2(")
    result = world.run(partitions[0], partitions[-1])
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    description = failure.step_failure_data.user_failure_data.description
    assert description.startswith("batch-000001: 2 of 5 records failed (40%, limit 10%): k01, k02")
    done = {
        event.dagster_event.partition
        for event in world.instance.fetch_materializations(summaries.key, limit=10).records
        if event.event_log_entry.dagster_event
        for event in [event.event_log_entry]
    }
    assert done == {"batch-000002", "batch-000003"}
    assert world.status["completed"] >= 9, "what went well is stored"
    faults.set()
    assert world.run(partitions[0]).success
    assert world.status["failed"] == 0


def test_a_batch_of_another_relation_is_refused_and_left_as_it_is(world: RunWorld, make_settings: Make) -> None:
    partitions = world.plan()
    world.store.connection.run(":create other {id: String => body: String}", write=True)
    world.settings = make_settings(source__relation="other", source__key="id", source__content="body")
    result = world.run(partitions[0])
    assert not result.success
    assert "batch-000001 holds records of relation 'record', the settings name 'other'" in str(
        [event.event_specific_data for event in result.all_events if event.is_failure]
    )
    assert world.status["pending"] == 12


@pytest.mark.slow
def test_the_same_records_under_two_models_side_by_side(world: RunWorld, twin: Path, make_settings: Make) -> None:
    partitions = world.plan()
    assert world.run(partitions[0], partitions[-1]).success
    first = world.store.recipes.latest()
    before = {e["key"]: e["summary"] for e in world.store.reports.entries("record", first)}
    world.settings = make_settings(model__path=str(twin), model__device="cpu", pipeline__failed_share_limit=1.0)
    assert world.run(partitions[0], partitions[-1]).success
    second = world.store.recipes.latest()
    assert first != second
    assert {e["key"]: e["summary"] for e in world.store.reports.entries("record", first)} == before
    under_both = [key for key in CODE if len(world.store.reports.summaries_of("record", key)) == 2]
    assert under_both
    assert {row["model"] for row in world.store.reports.summaries_of("record", under_both[0])} == {
        "dobby-code-11m",
        "twin",
    }


@pytest.mark.slow
def test_summaries_of_former_settings_show_as_out_of_date_partition_by_partition(
    world: RunWorld, make_settings: Make
) -> None:
    from dagster._core.definitions.data_version import CachingStaleStatusResolver
    from dagster._core.loader import LoadingContextForTest

    partitions = world.plan()
    tags = {"dagster/asset_partition_range_start": partitions[0], "dagster/asset_partition_range_end": partitions[1]}
    chosen = [asset for asset in build_assets(world.settings) if asset.key in (pending_records.key, summaries.key)]
    assert world.materialize(chosen, tags=tags).success

    def stale(settings: Settings) -> list[tuple[str, list[str]]]:
        graph = build_definitions(settings).get_repository_def().asset_graph
        resolver = CachingStaleStatusResolver(world.instance, graph, LoadingContextForTest(world.instance))
        found = []
        for partition in partitions:
            causes = resolver.get_stale_causes(summaries.key, partition)
            found.append((resolver.get_status(summaries.key, partition).value, [cause.reason for cause in causes]))
        return found

    assert [status for status, _ in stale(world.settings)] == ["FRESH", "FRESH", "MISSING"]
    longer = make_settings(inference__max_new_tokens=50, model__device="cpu", pipeline__batch_size=5)
    changed = stale(longer)
    assert [status for status, _ in changed] == ["STALE", "STALE", "MISSING"]
    assert changed[0][1] == ["has a new code version"]
    missing = make_settings(model__path="no-such-model")
    build_definitions(missing).get_repository_def()  # loads all the same; a run says what is wrong


def test_a_check_sees_what_a_person_broke(world: RunWorld) -> None:
    partitions = world.plan()
    world.run(partitions[0])
    store = world.store.connection
    store.run(
        "?[source, key, fingerprint] := *dobby_summary{source, key, fingerprint}, key = 'k00' :rm dobby_summary {source, key, fingerprint}",
        write=True,
    )
    result = world.materialize([summaries_invariants, pending_records, summaries], partition_key=partitions[0])
    failed = {e.check_name: e.metadata["first"].value for e in result.get_asset_check_evaluations() if not e.passed}
    assert "k00 is completed without a summary" in failed["completed_have_summaries"]


@pytest.mark.slow
def test_a_finished_partition_is_reported_before_the_next_one_begins(world: RunWorld) -> None:
    partitions = world.plan()
    seen: dict[str, list[str]] = {}
    commit = world.store.chunks.__class__.commit

    def noting(self: Any, source: Any, chunk: Any, scope: Scope) -> set[str]:
        reported = world.instance.fetch_materializations(summaries.key, limit=10).records
        seen.setdefault(scope.batch, sorted(str(record.partition_key) for record in reported))
        return commit(self, source, chunk, scope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store.chunks.__class__, "commit", noting)
        assert world.run(partitions[0], partitions[-1]).success
    assert seen == {partitions[0]: [], partitions[1]: partitions[:1], partitions[2]: partitions[:2]}


@pytest.mark.slow
def test_a_run_that_dies_between_partitions_leaves_the_finished_ones_materialized(world: RunWorld) -> None:
    partitions = world.plan()
    commit = world.store.chunks.__class__.commit

    def dying(self: Any, source: Any, chunk: Any, scope: Scope) -> set[str]:
        if scope.batch == partitions[2]:
            raise RuntimeError("the disk is gone")
        return commit(self, source, chunk, scope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store.chunks.__class__, "commit", dying)
        assert not world.run(partitions[0], partitions[-1]).success
    assert world.instance.get_materialized_partitions(summaries.key) == set(partitions[:2])
    assert world.status["in_progress"] == 0, "claims are released"


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


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every engine of this process that loads its model."""
    found: list[Any] = []
    load = PooledEngine._load
    monkeypatch.setattr(PooledEngine, "_load", lambda self: found.append(self) or load(self))
    return found


@pytest.mark.slow
def test_the_model_is_loaded_once_for_all_runs_of_a_process(world: RunWorld, loads: list[Any]) -> None:
    partitions = world.plan()
    for partition in partitions:
        assert world.run(partition).success
    assert len(partitions) == 3
    assert len(loads) == 1
    assert [(each.pid, each.in_use) for each in loaded_models()] == [(os.getpid(), False)]


@pytest.mark.slow
def test_a_changed_model_is_noticed_by_the_next_run(world: RunWorld, loads: list[Any], tmp_path: Path) -> None:
    copy = edited(find_model(ModelSettings()).path, tmp_path / "copy")
    world.settings = world.settings.model_copy(
        update={"model": world.settings.model.model_copy(update={"path": str(copy)})}
    )
    first, second, *_ = world.plan()
    assert world.run(first).success
    before = world.store.recipes.latest()
    card = json.loads((copy / CARD).read_text())
    (copy / CARD).write_text(json.dumps(card | {"description": "Another one."}))
    assert world.run(second).success
    assert world.store.recipes.latest() != before
    assert len(loads) == 2
    assert len({each.source.revision for each in loads}) == 2


@pytest.mark.slow
def test_a_run_that_fails_leaves_no_engine_to_the_next(
    world: RunWorld, loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = world.plan()
    with monkeypatch.context() as patch:
        patch.setattr(PooledEngine, "infer", lambda *_: (_ for _ in ()).throw(SystemError("broken")))
        assert not world.run(first).success
    assert loaded_models() == []
    tried = len(loads)
    assert world.run(second).success
    assert len(loads) == tried + 1


@pytest.mark.parametrize(
    ("wanted", "longest", "expected"),
    [
        ([], 3, []),
        ([3], 3, [(3, 3)]),
        ([1, 2, 3, 4], 3, [(1, 3), (4, 4)]),
        ([4, 1, 2], 3, [(1, 2), (4, 4)]),
    ],
)
def test_ranges_are_neighbours_and_bounded(wanted: list[int], longest: int, expected: list[tuple[int, int]]) -> None:
    found = ranges([batch_id(number) for number in wanted], longest)
    assert found == [(batch_id(first), batch_id(last)) for first, last in expected]


def test_dagster_home_is_made_and_must_be_writable(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    assert dagster_home(make_settings()) == tmp_path / "home"
    assert "run_monitoring" in (tmp_path / "home" / "dagster.yaml").read_text()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SettingsError, match="can't be written"):
        dagster_home(make_settings())


def test_settings_reach_the_code_location_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mem://elsewhere")
    resources = build_resources(load_settings().settings)
    assert resources["database"].settings.url == "mem://elsewhere"
