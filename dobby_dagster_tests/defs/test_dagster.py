"""The assets in Dagster, in this process: runs over ranges, failures, checks, the IO manager."""

import time
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs import progress_log
from dobby_dagster.defs.assets import pending_records, source_records, summaries
from dobby_dagster.defs.builders import build_assets
from dobby_dagster.defs.checks import summaries_invariants
from dobby_dagster.domain.scope import NO_RECIPE, Scope
from dobby_dagster.domain.settings import DEFAULT_MODEL, Settings
from dobby_dagster_tests.helpers.flawed_engine import Faults
from dobby_dagster_tests.helpers.run_world import CODE, RunWorld, values_of
from dobby_dagster_tests.helpers.world import Make


def test_a_run_takes_from_its_configuration_what_is_there_and_the_rest_from_the_settings(world: RunWorld) -> None:
    partition, *_ = world.plan()
    config = {"resources": {"models": {"config": {"inference": {"max_new_tokens": 3}}}}}
    assert world.run(partition, run_config=config).success
    [recipe] = world.store.recipes.all()
    assert (recipe["settings"]["max_new_tokens"], recipe["model"]) == (3, DEFAULT_MODEL)


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
        DEFAULT_MODEL,
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
