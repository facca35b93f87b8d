"""Dagster's storage in a real PostgreSQL: `deploy/dagster-postgres.yaml` as it is."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.postgres import DEPLOY, Postgres, needs_postgres, postgres
from dobby_dagster_tests.helpers.records import prepared

__all__ = ["postgres"]


def test_the_file_is_dagster_yaml_with_another_storage() -> None:
    usual = yaml.safe_load((DEPLOY.parent / "dagster.yaml").read_text())
    with_postgres = yaml.safe_load((DEPLOY / "dagster-postgres.yaml").read_text())
    assert set(with_postgres) - set(usual) == {"storage"}
    assert {name: with_postgres[name] for name in usual} == usual


@needs_postgres
@pytest.mark.slow
def test_runs_are_stored_in_postgres(
    postgres: Postgres, dobby: Dobby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = postgres.home(tmp_path / "home")
    for name, value in {**postgres.environment, "DAGSTER_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    store = prepared(tmp_path, 10)
    url = f"sqlite:///{tmp_path}/records.db"
    done = dobby("summarize", "--database", url, "--json")
    assert done.code == 0, done.err
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert "Postgres" in type(instance.run_storage).__name__
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
        assert instance.get_dynamic_partitions("record_batches") == ["batch-000001"]
    assert store.reports.status("record", store.recipes.latest())["pending"] == 0
    assert not list(home.rglob("*.db")), "nothing of Dagster's is in SQLite"
    doctor = dobby("doctor", "--database", url)
    assert doctor.code == 0, doctor.out + doctor.err
