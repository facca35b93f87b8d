"""A model is kept in memory for the next run of its process."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.engine_pool import PooledEngine
from dobby_dagster.inference.loaded_models import loaded_models
from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster_tests.helpers.local_engines import edited
from dobby_dagster_tests.helpers.run_world import RunWorld


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
