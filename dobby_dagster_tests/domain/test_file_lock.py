"""A lock that one process holds while it works on a folder."""

import errno
from pathlib import Path

import portalocker.portalocker
import pytest

from dobby_dagster.domain.errors import SettingsError, StoreAccessError
from dobby_dagster.domain.file_lock import sole_holder

REFUSAL = SettingsError("another one writes")


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with (
        sole_holder(tmp_path / "lock", REFUSAL),
        pytest.raises(SettingsError, match="another one"),
        sole_holder(tmp_path / "lock", REFUSAL),
    ):
        pass
    assert not (tmp_path / "lock").exists()


def test_a_file_system_without_locks_is_no_other_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portalocker.portalocker, "LOCKER", no_locks)
    with (
        pytest.raises(StoreAccessError, match="lock' can't be written: No locks available"),
        sole_holder(tmp_path / "lock", REFUSAL),
    ):
        pass


def no_locks(handle: int, flags: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")
