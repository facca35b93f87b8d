"""The files that say which models are loaded."""

import errno
from pathlib import Path

import portalocker.portalocker
import pytest

from dobby_dagster.inference.engine import ModelInfo
from dobby_dagster.inference.loaded_models import LoadedModelFile, loaded_models

INFO = ModelInfo("tiny", "/tiny", "qwen2", "1", 1, 1, 1, "cpu", "", "float32", "none", 0.0)


def test_a_file_system_without_locks_disturbs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(portalocker.portalocker, "LOCKER", no_locks)
    file = LoadedModelFile(INFO)
    assert [each.in_use for each in loaded_models()] == [True]
    file.note_use(in_use=False)
    assert [each.in_use for each in loaded_models()] == [False]
    file.remove()
    assert loaded_models() == []


def no_locks(handle: int, flags: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")
