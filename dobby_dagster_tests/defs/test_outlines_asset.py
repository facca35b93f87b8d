"""The asset ``outlines``, and the terminal, which goes on from level to level."""

from pathlib import Path

import pytest

from dobby_dagster.defs.runs.terminal_runs import plan_and_run
from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.settings import Settings
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.run_world import CODE, RunWorld, values_of
from dobby_dagster_tests.helpers.world import Make

MODULE = "\n\n".join(list(CODE.values())[:3])


@pytest.fixture
def settings(make_settings: Make, tmp_path: Path) -> Settings:
    made = make_settings(model__path=SMALL_MODEL, model__device="cpu", dagster__home=tmp_path / "home")
    files = {"src/a.py": f'"""Small functions."""\n\n{MODULE}\n', "src/deep/b.py": f"{MODULE}\n"}
    ingest(CozoStore.open(made.database), [tree(tmp_path, files) / "src"])
    return made


def test_a_batch_derives_what_it_has_completed(settings: Settings) -> None:
    world = RunWorld(settings)
    [partition] = world.plan()
    result = world.run(partition)
    assert result.success
    told = values_of(result, "outlines")[partition]
    assert (told["outlines_written"], told["outlines_unchanged"], told["outlines_waiting"]) == (2, 0, 0)
    assert told["written"] == "`src/deep/b.py`, `src/a.py`"
    assert world.plan()[-1] == "batch-000002"


@pytest.mark.slow
def test_the_terminal_goes_on_until_nothing_is_left(settings: Settings) -> None:
    levels = []
    report = plan_and_run(settings, lambda report: levels.append((report.level, sum(report.todo.values()))))
    assert levels == [("", 6), ("files", 2), ("packages", 1), ("packages", 1)]
    assert (report.done, len(report.runs), report.failures) == (10, 4, [])
    again = plan_and_run(settings)
    assert (again.done, again.runs) == (0, [])


@pytest.mark.slow
def test_without_the_setting_there_are_no_levels(settings: Settings) -> None:
    off = settings.model_copy(update={"pipeline": settings.pipeline.model_copy(update={"outlines": False})})
    assert plan_and_run(off).done == 6
    assert plan_and_run(settings).done == 4, "and they come once it is set"
