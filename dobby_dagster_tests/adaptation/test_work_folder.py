"""The folder in which an adapted model is made: what it replaces, what it refuses, and what it leaves."""

from pathlib import Path

import pytest

from dobby_dagster.adaptation.work_folder import WorkFolder
from dobby_dagster.domain.errors import DobbyError, ModelError


def filled(work: WorkFolder) -> None:
    work.model.mkdir()
    (work.model / "dobby.json").write_text('{"adapted": {}}')
    (work.model / "model.safetensors").write_text("new")


def test_a_model_is_placed_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "models" / "mine")
    work.require_free(force=False)
    assert not work.begin("a task")
    filled(work)
    work.place()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dobby.json", "mine", "model.safetensors", "models"]


def test_the_same_task_goes_on_and_another_begins_anew(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "mine")
    assert not work.begin("a task")
    assert not work.begin("a task")  # killed before its first checkpoint
    work.checkpoint.write_text("state")
    assert work.begin("a task")
    assert work.checkpoint.exists()
    assert not work.begin("another task")
    assert not work.checkpoint.exists()


def test_only_one_process_at_a_time_makes_a_model_for_a_folder(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "models" / "mine")
    with work.held(), pytest.raises(ModelError, match="another dobby adapt makes"), WorkFolder(work.out).held():
        pass
    with work.held():
        assert not work.begin("a task")
    assert [path.name for path in work.out.parent.iterdir()] == [work.path.name]


def test_an_adapted_model_is_replaced_with_force_only(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "mine")
    work.begin("a task")
    filled(work)
    work.place()
    (work.out / "model.safetensors").write_text("old")
    with pytest.raises(ModelError, match="exists already"):
        work.require_free(force=False)
    work.require_free(force=True)
    work.begin("a task")
    filled(work)
    work.place()
    assert (work.out / "model.safetensors").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("kind", ["file", "link", "empty folder", "other folder", "other model", "broken card"])
def test_what_is_something_else_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "mine"
    if kind == "file":
        out.write_text("precious")
    elif kind == "link":
        out.symlink_to(tmp_path)
    else:
        out.mkdir()
        if kind == "other folder":
            (out / "precious").write_text("")
        elif kind != "empty folder":
            (out / "dobby.json").write_text('{"prompts": []}' if kind == "other model" else "{")
    with pytest.raises(DobbyError, match="mine"):
        WorkFolder(out).require_free(force=True)
    assert out.is_symlink() or out.exists()


def test_a_foreign_work_folder_is_not_deleted(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "mine")
    work.path.mkdir()
    (work.path / "precious").write_text("")
    with pytest.raises(ModelError, match="is in the way"):
        work.begin("a task")
    work.delete()
    assert (work.path / "precious").exists()
