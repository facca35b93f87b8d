"""A dozen records in three batches, and a real Dagster instance with the project's own dagster.yaml."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dobby_dagster.defs.runs.dagster_home import dagster_home
from dobby_dagster.domain.settings import Settings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.world import Make


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(pipeline__batch_size=5, model__device="cpu", automation__retry_seconds=100)


@pytest.fixture
def store(settings: Settings) -> CozoStore:
    opened = CozoStore.open(settings.database)
    put(opened, {f"k{i:02d}": f"def add_{i}(a, b):\n    return a + b + {i}\n" for i in range(12)})
    plan(opened, opened.source(settings.source), 5)
    return opened


@pytest.fixture
def instance(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A real instance, with the project's own dagster.yaml."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    dagster_home(settings)
    with dg.DagsterInstance.get() as opened:
        yield opened
