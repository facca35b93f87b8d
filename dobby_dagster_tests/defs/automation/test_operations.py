"""The jobs for the launchpad."""

import dagster as dg
import pytest

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs.builders import build_assets, build_resources
from dobby_dagster.defs.operation_jobs import operations
from dobby_dagster.domain.errors import (
    ModelError,
)  # fmt: skip
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import ProcessingState
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.automation import backfills, recipe, run, settle
from dobby_dagster_tests.helpers.records import put


def test_summarize_new_looks_adds_partitions_and_starts_a_backfill(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    opened = CozoStore.open(settings.database)
    put(opened, {f"k{i}": f"def f{i}(): pass" for i in range(7)})
    assert run("summarize_new", settings, instance).success
    assert instance.get_dynamic_partitions("record_batches") == [batch_id(1), batch_id(2)]
    assert backfills(instance) == [("Summarise 7 records", [batch_id(1), batch_id(2)])]
    for number in (1, 2):
        settle(opened, settings, batch_id(number))
    assert run(
        "summarize_new", settings, instance, {"ops": {"look_and_start": {"config": {"compare_everything": True}}}}
    ).success
    assert len(instance.get_backfills()) == 1, "nothing was left to do"


@pytest.mark.slow
def test_resummarize_summarizes_chosen_records_again(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("record_batches", [b.id for b in store.versions.batches()])
    _infer(settings, instance)
    before = {e["key"]: e["created_at"] for e in store.reports.entries("record", recipe(settings)) if e["summary"]}
    assert len(before) == 12
    for config, message in (
        ({}, "no record was chosen"),
        ({"keys": ["nope"]}, "record 'nope' has no summary to replace"),
        ({"confidence_below": 7}, "less than or equal to 1"),
    ):
        refused = run("resummarize_records", settings, instance, {"ops": {"forget_and_start": {"config": config}}})
        assert not refused.success
        assert message in str([e.event_specific_data for e in refused.all_events if e.is_failure])
    config = {"ops": {"forget_and_start": {"config": {"keys": ["k00"], "prefix": "k1"}}}}
    assert run("resummarize_records", settings, instance, config).success
    assert backfills(instance) == [("Summarise 3 records again", [batch_id(1), batch_id(3)])]
    assert store.reports.status("record", recipe(settings))["pending"] == 3
    _infer(settings, instance)
    after = {e["key"]: e["created_at"] for e in store.reports.entries("record", recipe(settings)) if e["summary"]}
    assert {key for key in before if after[key] != before[key]} == {"k00", "k10", "k11"}


def _infer(settings: Settings, instance: dg.DagsterInstance) -> None:
    wanted = [
        asset for asset in build_assets(settings) if asset.key.to_user_string() in ("pending_records", "summaries")
    ]
    tags = {"dagster/asset_partition_range_start": batch_id(1), "dagster/asset_partition_range_end": batch_id(3)}
    assert dg.materialize(wanted, instance=instance, resources=build_resources(settings), tags=tags).success


def test_releasing_the_quarantine_resets_retry_counts(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("record_batches", [b.id for b in store.versions.batches()])
    rid = recipe(settings)
    settle(store, settings, batch_id(2), ProcessingState.failed(ModelError("broken"), 3))
    refused = run(
        "release_quarantine", settings, instance, {"ops": {"release_and_start": {"config": {"keys": ["k00"]}}}}
    )
    assert "record 'k00' is not failed" in str([e.event_specific_data for e in refused.all_events if e.is_failure])
    assert run("release_quarantine", settings, instance).success
    states = {m.state.state.value for m in store.states.members(Scope(rid, batch_id(2))) if m.state}
    assert states == {"pending"}
    assert [m.state.retry_count for m in store.states.members(Scope(rid, batch_id(2))) if m.state] == [0] * 5
    assert backfills(instance) == [("Retry 5 failed records", [batch_id(2)])]


def test_every_job_and_its_config_explain_themselves(settings: Settings) -> None:
    definitions = build_definitions(settings)
    for job in definitions.resolve_all_job_defs():
        if not job.name.startswith("__"):
            assert job.description, job.name
    for job in operations(settings):
        for node in job.nodes:
            fields = node.definition.config_schema.config_type
            for name, field in getattr(fields, "fields", {}).items():
                assert field.description, f"{job.name}: {name}"
    for sensor in definitions.sensors or []:
        assert sensor.description
    for schedule in definitions.schedules or []:
        assert schedule.description
