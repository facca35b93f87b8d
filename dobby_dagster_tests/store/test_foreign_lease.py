"""An embedded database belongs to one machine: another one that finds it in use waits, and says so."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import StoreBusyError
from dobby_dagster.domain.host import Host, this_host
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database import lease
from dobby_dagster.store.database.lease import FRESH_SECONDS


def used_by(database: Path, host: Host) -> Path:
    path = database.parent / f"{database.name}.lease"
    path.write_text(json.dumps({"pid": 7, "command": "dobby", "since": time.time(), "host": str(host)}))
    return path


def opened(database: Path, timeout: float = 0.2) -> CozoStore:
    return CozoStore.open(DatabaseSettings(url=f"sqlite:///{database}", lease_timeout_seconds=timeout))


def test_a_database_that_another_machine_uses_is_refused_by_name(tmp_path: Path) -> None:
    database = tmp_path / "records.db"
    assert opened(database).check() == []
    used_by(database, Host("web-2", "0a0a0a0a", "1"))
    for ask in (lambda: opened(database).check(), lambda: opened(database).renewals.forget()):
        with pytest.raises(StoreBusyError, match="belongs to host web-2, which used it less than 30 s ago") as refused:
            ask()
        assert "http://" in str(refused.value.hint)


def test_a_machine_that_has_not_used_it_for_a_while_has_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "records.db"
    assert opened(database).check() == []
    path = used_by(database, Host("web-2", "0a0a0a0a", "1"))
    os.utime(path, (time.time() - FRESH_SECONDS - 1,) * 2)
    assert opened(database).check() == []
    path = used_by(database, Host("web-2", "0a0a0a0a", "1"))
    waited: list[float] = []
    monkeypatch.setattr(lease, "time", _Clock(waited, path))
    assert opened(database, 60.0).check() == []
    assert waited, "it waits as for any other process, and keeps none out"


def test_a_file_of_a_time_when_the_clock_was_wrong_keeps_nobody_out(tmp_path: Path) -> None:
    database = tmp_path / "records.db"
    assert opened(database).check() == []
    path = used_by(database, Host("this-one-before-its-restart", "0a0a0a0a", "1"))
    os.utime(path, (time.time() + 86_400,) * 2)
    assert opened(database).check() == []


class _Clock:
    """``time``, with a sleep that makes the file old."""

    def __init__(self, waited: list[float], path: Path) -> None:
        self._waited, self._path = waited, path
        self.monotonic, self.time = time.monotonic, time.time

    def sleep(self, seconds: float) -> None:
        self._waited.append(seconds)
        with self._path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.utime(self._path, (time.time() - FRESH_SECONDS - 1,) * 2)


def test_containers_of_this_machine_and_earlier_versions_are_let_in(tmp_path: Path) -> None:
    database = tmp_path / "records.db"
    assert opened(database).check() == []
    used_by(database, Host("another-container", this_host().boot, "another process table"))
    assert opened(database).check() == []
    path = tmp_path / "records.db.lease"
    path.write_text(json.dumps({"pid": 7, "command": "dobby", "since": time.time()}))
    assert opened(database).check() == []
    opened(database).renewals.forget()
    assert Host.parse(json.loads(path.read_text())["host"]).is_this()
