"""Backups: whole or not there, verified when written and before and after they are restored."""

import hashlib
import os
import random
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import StoreAccessError, StoreCorruptError, StoreError
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client
from dobby_dagster.store.maintenance.backup_file import restore, verify_backup, write_backup
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.records import put

ROWS = 300


@pytest.fixture
def backup(sqlite_store: CozoStore, tmp_path: Path) -> Path:
    put(sqlite_store, {f"k{i}": f"def f{i}():\n    return {i}\n" * 3 for i in range(ROWS)})
    path = tmp_path / "good.backup"
    sqlite_store.backup(path)
    return path


def settings(path: Path, engine: str = "sqlite") -> DatabaseSettings:
    return DatabaseSettings(url=f"{engine}:///{path}")


def contents(url: str) -> list[list[str]]:
    with cozo_client(url) as db:
        return list(db.run("?[key, content] := *record{key, content}")["rows"])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made_by_cozo(path: Path) -> None:
    with cozo_client("mem://made-by-cozo") as db:
        if not db.run("::relations")["rows"]:
            db.run("?[key, content] <- [['a', 'x'], ['b', 'y']] :create record {key => content}")
        db.backup(str(path))


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb", "mem"])
def test_a_backup_comes_back_as_it_was(backup: Path, sqlite_url: str, tmp_path: Path, engine: str) -> None:
    before = digest(backup)
    target = f"mem://{tmp_path.name}" if engine == "mem" else f"{engine}:///{tmp_path}/new.db"
    held = restore(DatabaseSettings(url=target), backup)
    assert held.rows["record"] == ROWS
    assert contents(target) == contents(sqlite_url)
    assert digest(backup) == before, "restoring does not touch the backup"
    left = {p.name for p in tmp_path.iterdir()} - {"records.db", "records.db.lease", "good.backup"}
    assert left == ({"new.db", "new.db.lease"} if engine != "mem" else set())


def test_a_backup_is_its_owners_alone_and_says_what_is_in_it(backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    held = verify_backup(backup)
    assert held.rows["record"] == ROWS
    assert held.summary.endswith("rows")


def test_a_backup_by_another_client_of_cozo_is_restored_too(tmp_path: Path) -> None:
    made_by_cozo(tmp_path / "plain.backup")
    assert restore(settings(tmp_path / "new.db"), tmp_path / "plain.backup").rows == {"record": 2}


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3 // 4096 * 4096)


def cut_in_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1_000)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def only_a_header(path: Path) -> None:
    os.truncate(path, 16)


def random_bytes(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(5_000))


def zeroed_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\0" * 8_192)


def one_letter_changed(path: Path) -> None:
    data = path.read_bytes()
    place = data.rindex(b"return 7\n")
    path.write_bytes(data[:place] + b"return 8\n" + data[place + 9 :])


def a_row_deleted(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("delete from cozo where k = (select max(k) from cozo)")


def another_programs(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("create table accounts (a)")


def with_another_programs_table(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("create table accounts (a)")


def with_a_trigger(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("create trigger t after insert on cozo begin delete from cozo; end")


def with_a_view_in_place_of_the_table(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("alter table cozo rename to hidden")
        database.execute("create view cozo as select k, v from hidden")


def with_a_generated_column(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("create table cozo (k blob primary key, v blob, w as (hex(zeroblob(1000000))))")


def manifest_spoiled(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("update dobby_backup set manifest = '[1]'")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def an_empty_database(path: Path) -> None:
    path.unlink()
    with cozo_client(f"sqlite:///{path}"):
        pass


def with_a_journal(path: Path) -> None:
    path.with_name(path.name + "-journal").write_bytes(b"left by a kill")


@pytest.mark.parametrize(
    "spoil",
    [
        truncated, cut_in_a_page, emptied, only_a_header, random_bytes, zeroed_page, one_letter_changed, a_row_deleted,
        another_programs, with_another_programs_table, with_a_trigger, with_a_view_in_place_of_the_table, with_a_generated_column, manifest_spoiled, a_folder, a_pipe, an_empty_database,
        with_a_journal,
    ],
)  # fmt: skip
def test_what_is_no_sound_backup_is_refused_by_name_and_left_as_it_is(
    backup: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(backup)
    before = digest(backup) if backup.is_file() else ""
    with pytest.raises(StoreError, match=r"good\.backup") as caught:
        restore(settings(tmp_path / "new.db"), backup)
    assert "new.db" not in caught.value.message
    assert not (tmp_path / "new.db").exists()
    assert not list(tmp_path.glob("new.db-*"))
    assert before == (digest(backup) if backup.is_file() else "")


def test_flipped_bytes_never_pass(backup: Path, tmp_path: Path) -> None:
    """Whatever bytes of the data are changed: the backup is refused, or holds every row as it was."""
    good = backup.read_bytes()
    whole = verify_backup(backup)
    for seed in range(25):
        rng = random.Random(seed)
        data = bytearray(good)
        for _ in range(5):
            data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)
        bad = tmp_path / "bad.backup"
        bad.write_bytes(data)
        with sqlite3.connect(backup) as one:
            stored = one.execute("select k, v from cozo order by k").fetchall()
        try:
            held = verify_backup(bad)
        except StoreCorruptError as error:
            assert "bad.backup" in error.message
            continue
        with sqlite3.connect(bad) as two:
            assert two.execute("select k, v from cozo order by k").fetchall() == stored, f"seed {seed}"
        assert held == whole


@pytest.mark.parametrize("spoil", [with_a_trigger, with_a_view_in_place_of_the_table, with_a_generated_column])
def test_a_database_with_sql_of_its_own_is_not_opened(
    sqlite_store: CozoStore, sqlite_url: str, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tmp_path / "records.db")
    before = digest(tmp_path / "records.db")
    with pytest.raises(StoreCorruptError, match="is not CozoDB's"):
        CozoStore.open(DatabaseSettings(url=sqlite_url))
    assert digest(tmp_path / "records.db") == before


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_a_database_that_is_not_empty_is_not_restored_into(backup: Path, tmp_path: Path, engine: str) -> None:
    target = settings(tmp_path / "new.db", engine)
    restore(target, backup)
    CozoStore.open(target).records.remove(["k1"])
    before = contents(target.url)
    with pytest.raises(StoreAccessError, match=r"new\.db is not empty"):
        restore(target, backup)
    assert contents(target.url) == before


def test_another_programs_file_is_not_restored_into(backup: Path, tmp_path: Path) -> None:
    shutil.copy(backup, tmp_path / "other.db")
    another_programs(tmp_path / "other.db")
    before = digest(tmp_path / "other.db")
    with pytest.raises(StoreCorruptError, match=r"other\.db is another program's"):
        restore(settings(tmp_path / "other.db"), backup)
    assert digest(tmp_path / "other.db") == before
    (tmp_path / "new.db-journal").write_text("left over")
    with pytest.raises(StoreAccessError, match=r"new\.db-journal was left behind"):
        restore(settings(tmp_path / "new.db"), backup)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreCorruptError, match="folder that holds other things"):
        restore(settings(tmp_path / "folder", "rocksdb"), backup)
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["thesis.txt"]


KILLED = """
    import os, signal, sys
    from dobby_dagster.domain import atomic_file
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.database import embedded_connection as embedded
    from dobby_dagster.store.maintenance import backup_file as backup
    from dobby_dagster.store.database.connect import connect
    from pathlib import Path
    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
    what, at, source, target = sys.argv[1:]
    if at == "writing":
        embedded.EmbeddedConnection._call = die
    elif at == "reading":
        backup.read_everything = die if what == "restore" else backup.read_everything
        backup._digest = die
    else:
        atomic_file._flush = die
    if what == "backup":
        backup.write_backup(connect(DatabaseSettings(url=source)), Path(target))
    else:
        backup.restore(DatabaseSettings(url=target), Path(source))
"""


@pytest.mark.parametrize("at", ["writing", "reading", "naming"])
def test_a_kill_leaves_nothing_under_the_name_and_the_next_try_succeeds(
    backup: Path, sqlite_url: str, tmp_path: Path, at: str
) -> None:
    def killed(*arguments: object) -> None:
        command = [sys.executable, "-c", textwrap.dedent(KILLED), *map(str, arguments)]
        assert subprocess.run(command, check=False, timeout=60).returncode == -9

    killed("backup", at, sqlite_url, tmp_path / "second.backup")
    assert not (tmp_path / "second.backup").exists()
    CozoStore.open(DatabaseSettings(url=sqlite_url)).backup(tmp_path / "second.backup")
    target = settings(tmp_path / "new.db")
    killed("restore", at, backup, target.url)
    assert not (tmp_path / "new.db").exists()
    restore(target, tmp_path / "second.backup")
    assert contents(target.url) == contents(sqlite_url)


FULL = """
    import resource, signal, sys
    from pathlib import Path
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.domain.errors import StoreError
    from dobby_dagster.store.maintenance.backup_file import restore, write_backup
    from dobby_dagster.store.database.connect import connect
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    for action in (
        lambda: write_backup(connect(DatabaseSettings(url=sys.argv[1])), Path("full.backup")),
        lambda: restore(DatabaseSettings(url="sqlite:///full.db"), Path(sys.argv[2])),
    ):
        try:
            action()
        except StoreError as error:
            print(type(error).__name__, error)
"""


def test_a_full_disk_leaves_neither_a_backup_nor_a_database(backup: Path, sqlite_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FULL), sqlite_url, str(backup)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["StoreAccessError"] * 2, done.stdout
    assert all("disk is full" in line for line in lines)
    assert not {"full.backup", "full.db"} & {p.name for p in tmp_path.iterdir()}
    assert not list(tmp_path.glob(".dobby-*"))


def test_a_damaged_database_gives_no_backup(sqlite_store: CozoStore, backup: Path, tmp_path: Path) -> None:
    one_letter = tmp_path / "records.db"
    data = one_letter.read_bytes()
    place = data.rindex(b"return 7\n")
    one_letter.write_bytes(data[:place] + b"\xff\xfe\xff\xfe" + data[place + 4 :])
    with pytest.raises(StoreCorruptError, match=r"records\.db is damaged, and no backup was made"):
        sqlite_store.backup(tmp_path / "second.backup")
    assert not (tmp_path / "second.backup").exists()


def test_the_commands_say_what_was_verified_and_which_file_is_wrong(
    dobby: Dobby, backup: Path, sqlite_url: str
) -> None:
    written = dobby("backup", "second.backup", "-d", sqlite_url)
    verified = re.search(r"verified: (\d+) relations", written.err)
    assert verified, written.err
    assert int(verified[1]) > 15
    restored = dobby("restore", "second.backup", "-d", "sqlite:///new.db")
    assert verified[0] in restored.err
    Path("empty.backup").write_text("")
    for name in ("empty.backup", "nothing.backup"):
        refused = dobby("restore", name, "-d", "sqlite:///other.db")
        assert refused.code == 1
        assert name in refused.err
        assert not Path("other.db").exists()


def test_a_backup_beside_a_left_over_journal_is_refused(sqlite_store: CozoStore, tmp_path: Path) -> None:
    (tmp_path / "b.backup-journal").write_text("of a killed backup")
    with pytest.raises(StoreAccessError, match=r"b\.backup-journal was left behind"):
        write_backup(sqlite_store.connection, tmp_path / "b.backup")
    assert not (tmp_path / "b.backup").exists()
