"""The definitions load whatever the environment holds; what is wrong with it is said where they are used."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dobby_dagster.definitions import load_definitions
from dobby_dagster.defs.runs.batch_runs import range_tags
from dobby_dagster_tests.helpers.hostile_text import ENVIRONMENTS

# The addresses that a run's configuration may name; the keyring gives each the secrets that were configured with it.
BOUND = {"database.url", "models.model.url"}
WRONG = [
    {"DOBBY_INFERENCE_SLOTS": "nan"},
    {"DOBBY_NOSUCH": "1"},
    {"DOBBY_CONFIG": "deep.toml"},
    {"DOBBY_CONFIG": "none.toml"},
]


def test_definitions_load_in_any_environment() -> None:
    Path("deep.toml").write_text("a = " + "[" * 5_000 + "]" * 5_000)
    Path("binary").write_bytes(bytes(range(256)))
    Path("latin.toml").write_bytes(b"[model]\npath = '\xe4'\n")
    for environment in (*WRONG, *ENVIRONMENTS):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            jobs = {job.name for job in load_definitions().jobs or []}
        assert jobs >= {"plan_batches", "summarize_batches", "upkeep"}, environment


@pytest.mark.parametrize("environment", WRONG, ids=str)
def test_a_run_says_what_is_wrong_with_the_settings(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("deep.toml").write_text("a = " + "[" * 5_000 + "]" * 5_000)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    definitions = load_definitions()
    assert not definitions.sensors
    assert not definitions.schedules
    dg.Definitions.validate_loadable(definitions)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("record_batches", ["batch-000001"])
        for name, tags in (
            ("plan_batches", {}),
            ("recover_from_crash", {}),
            ("summarize_batches", range_tags("batch-000001", "batch-000001")),
        ):
            ended = definitions.resolve_job_def(name).execute_in_process(
                instance=instance, tags=tags, raise_on_error=False
            )
            assert not ended.success
            said = str([event.event_specific_data for event in ended.all_events if event.is_failure])
            assert definitions.metadata["problem"].value in said.replace("\\'", "'")
    assert not list(Path().glob("*.db"))


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_no_run_makes_an_empty_database_in_place_of_a_lost_one(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Path("lost.db").absolute()
    monkeypatch.setenv("DATABASE_URL", f"{engine}:///{lost}")
    definitions = load_definitions()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("record_batches", ["batch-000001"])
        for job in definitions.jobs or []:
            ended = definitions.resolve_job_def(job.name).execute_in_process(
                instance=instance, tags=range_tags("batch-000001", "batch-000001"), raise_on_error=False
            )
            assert not lost.exists(), job.name
            assert not ended.success, job.name
            said = str([event.event_specific_data for event in ended.all_events if event.is_failure])
            assert f"there is no database at {engine}:///{lost}" in said, job.name


def test_nothing_is_told_to_the_maker_of_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("HOME", str(tmp_path))
    code = (
        "import dobby_dagster.inference.local.devices, openvino, sys; assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / "intel").exists()


def _addresses(fields: Mapping[str, Any], above: str) -> Iterator[str]:
    """The paths of all fields named ``url``, ``host`` or the like in a configuration schema."""
    for name, field in fields.items():
        path = f"{above}.{name}" if above else name
        if re.search(r"url|host|address|server", name):
            yield path
        yield from _addresses(getattr(field.config_type, "fields", None) or {}, path)


def test_a_run_names_no_address_whose_secrets_are_not_bound_to_theirs() -> None:
    """The key of ``[search]`` follows no changed URL, since no run's configuration has that section."""
    schema = load_definitions().resolve_job_def("summarize_batches").run_config_schema.run_config_schema_type
    resources: Mapping[str, Any] = getattr(schema, "fields", {})["resources"].config_type.fields
    assert set(resources) >= {"database", "models", "cozo"}
    found = set()
    for name, field in resources.items():
        found |= set(_addresses(field.config_type.fields, name))
    assert {path.replace(".config.", ".") for path in found} == BOUND
