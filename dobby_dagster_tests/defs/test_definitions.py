"""The definitions load whatever the environment holds; what is wrong with it is said where they are used."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dobby_dagster.definitions import load_definitions
from dobby_dagster.defs.runs.batch_runs import range_tags
from dobby_dagster_tests.helpers.hostile_text import ENVIRONMENTS

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


def test_nothing_is_told_to_the_maker_of_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("HOME", str(tmp_path))
    code = (
        "import dobby_dagster.inference.local.devices, openvino, sys; assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / "intel").exists()
