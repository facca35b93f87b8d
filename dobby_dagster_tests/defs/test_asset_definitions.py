"""The definitions, before anything runs."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._config import resolve_defaults

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs.assets import metrics, pending_records, search_index, summaries
from dobby_dagster.defs.builders import build_resources
from dobby_dagster.defs.partitions import record_batch_partitions
from dobby_dagster.defs.runs.batch_runs import ranges
from dobby_dagster.defs.runs.dagster_home import dagster_home
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster_tests.helpers.world import Make


def test_definitions_load_and_tell_the_story(make_settings: Make) -> None:
    definitions = build_definitions(make_settings())
    dg.Definitions.validate_loadable(definitions)
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert set(specs) == {
        "source_records", "record_batches", "pending_records", "summaries", "outlines", "search_index", "metrics",
    }  # fmt: skip
    for spec in specs.values():
        assert spec.description
        assert spec.owners
        assert spec.kinds
    groups = {name: spec.group_name for name, spec in specs.items()}
    assert groups == {
        "source_records": "source", "record_batches": "source", "pending_records": "inference", "summaries": "inference",
        "outlines": "inference", "search_index": "search", "metrics": "reporting",
    }  # fmt: skip
    schema = specs["summaries"].metadata["dagster/column_schema"]
    columns = {column.name: (column.type, column.constraints.nullable) for column in schema.columns}
    assert columns["text"] == ("String", False)
    assert columns["confidence"] == ("Float", True)
    assert {job.name for job in definitions.resolve_all_job_defs()} >= {"plan_batches", "summarize_batches"}


@pytest.mark.parametrize(("named", "most"), [({}, 16), ({"dagster__partitions_per_run": 3}, 3)])
def test_one_backfill_policy_on_the_whole_chain(make_settings: Make, named: dict[str, int], most: int) -> None:
    graph = build_definitions(make_settings(**named)).resolve_asset_graph()
    assert {graph.get(asset.key).backfill_policy for asset in (pending_records, summaries, search_index, metrics)} == {
        dg.BackfillPolicy.multi_run(max_partitions_per_run=most)
    }
    assert {asset.partitions_def for asset in (pending_records, summaries, search_index, metrics)} == {
        record_batch_partitions
    }


def test_a_launchpad_is_not_filled_with_the_settings(make_settings: Make) -> None:
    """Its default configuration names no setting, so that what a person writes there is all that differs."""
    for job in build_definitions(make_settings(pipeline__batch_size=7)).resolve_all_job_defs():
        resources = resolve_defaults(job.run_config_schema.config_type, {}).value["resources"]
        for name in ("database", "models", "options"):
            values = resources.get(name, {}).get("config", {})
            assert {key: value for key, value in values.items() if value != {}} == {}, (job.name, name)


def test_importing_the_definitions_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, dobby_dagster.definitions; print([m for m in ('torch', 'transformers', 'pandas', 'pycozo') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


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
