"""Files that are damaged, foreign or unwritable, and a disk that is full: one clear error each, nothing lost."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError, StoreCorruptError, StoreError
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.cozo_errors import is_panic, message_of, translate
from dobby_dagster.store.ledger.schema import LATEST


def test_another_programs_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database at all, but quite long enough")
    with pytest.raises(StoreCorruptError, match=r"notes.txt is another program's file"):
        CozoStore.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/notes.txt"))
    assert (tmp_path / "notes.txt").read_text().startswith("not a database")


def test_another_programs_sqlite_database(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("create table customers (id)")
    other.commit()
    other.close()
    with pytest.raises(StoreCorruptError, match=r"other.db is another program's SQLite database"):
        CozoStore.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/other.db"))
    tables = sqlite3.connect(tmp_path / "other.db").execute("select name from sqlite_master").fetchall()
    assert tables == [("customers",)]


def test_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    CozoStore.open(DatabaseSettings(url=f"sqlite:///{path}"))
    data = bytearray(path.read_bytes())
    data[100:] = os.urandom(len(data) - 100)
    path.write_bytes(data)
    with pytest.raises(StoreCorruptError, match="damaged|malformed|another program"):
        CozoStore.open(DatabaseSettings(url=f"sqlite:///{path}"))


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    with pytest.raises(StoreAccessError, match="is a folder"):
        CozoStore.open(DatabaseSettings(url=f"sqlite:///{tmp_path}"))


FULL = """
    import resource, sys
    from dobby_dagster.domain.errors import StoreAccessError
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.cozo_store import CozoStore
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = CozoStore.open(DatabaseSettings(url=sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    stored = 0
    try:
        for i in range(1_000):
            row = [[f"k{i:04d}", "x" * 2_000]]
            store.connection.run("?[key, content] <- $r :put record {key => content}", {"r": row}, write=True)
            stored += 1
    except StoreAccessError as error:
        print(stored, error)
"""


def test_a_full_disk_is_named_and_what_was_stored_stays(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), url], capture_output=True, text=True, timeout=120, check=False
    )
    stored, _, message = answer.stdout.partition(" ")
    assert "the disk is full" in message, answer.stdout + answer.stderr
    found = CozoStore.open(DatabaseSettings(url=url)).connection.run("?[count(key)] := *record{key}").rows
    assert found == [[int(stored)]]
    assert int(stored) > 10


def test_a_panic_is_an_ordinary_error(sqlite_store: CozoStore) -> None:
    with pytest.raises(StoreError, match="unreachable"):
        sqlite_store.connection.run("?[key] := *record{key}, not *dobby_version{key @ 'END'}")
    assert sqlite_store.health().schema_version == LATEST


def test_errors_whose_text_can_not_be_had_still_have_one(sqlite_store: CozoStore) -> None:
    with pytest.raises(StoreError):
        sqlite_store.connection.run("?[x] <- [[$x]]", {"x": "\ud800"})

    class Mute(Exception):
        def __str__(self) -> str:
            raise AttributeError("no text")

    assert message_of(Mute()) == "Mute"
    assert not is_panic(Mute())


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("database is locked (code 5)", StoreBusyError),
        (
            'called `Result::unwrap()` on an `Err` value: Error { code: Some(5), message: Some("database is locked") }',
            StoreBusyError,
        ),
        ("file is not a database (code 26)", StoreCorruptError),
        ("database or disk is full (code 13)", StoreAccessError),
        ("attempt to write a readonly database (code 8)", StoreAccessError),
        ("IO error: lock: Resource temporarily unavailable", StoreBusyError),
        ("anything else", StoreError),
    ],
)
def test_messages_tell_the_kind(message: str, kind: type) -> None:
    assert type(translate(message, "sqlite:///t.db")) is kind
