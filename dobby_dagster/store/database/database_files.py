"""The file or folder of an embedded database, checked before CozoDB opens it.

CozoDB creates a database at any path: it adds a table to another program's SQLite file, fills any folder, and waits
forever on a named pipe.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dobby_dagster.domain.atomic_file import replacing
from dobby_dagster.domain.errors import StoreAccessError, StoreCorruptError
from dobby_dagster.domain.filesystem import PRIVATE_FILE, PRIVATE_FOLDER, kind_of_path
from dobby_dagster.domain.printable import printable

_SQLITE_MAGIC = b"SQLite format 3\x00"
_ROCKSDB_ENTRIES = {"data", "manifest"}
_COZO_TABLE = "create table cozo ( k blob primary key, v blob )"
_UNNEEDED = re.compile(r"LOCK|LOG.*")
# Written by SQLite beside a database; one that is left over from another file would be applied to a new one.
_JOURNALS = ("-journal", "-wal")


def require_place(engine: str, path: Path, *, create: bool) -> None:
    """Raise unless ``path`` is of the kind that ``engine`` opens, or ``create`` is set and nothing exists there; the file is not read.

    Raises:
        StoreAccessError: It is missing, or of another kind, which the message names.
    """
    kind = kind_of_path(path, follow=True)
    if kind == "nothing":
        if not create:
            raise StoreAccessError(
                f"there is no database at {engine}:///{path}",
                hint="name yours with --database, or fill one with dobby ingest",
            )
        if not path.parent.is_dir():
            raise StoreAccessError(
                f"the database's folder {path.parent} can't be written: it does not exist", hint="make it first"
            )
    elif engine == "sqlite" and kind != "file":
        hint = "use rocksdb:///PATH" if kind == "a folder" else "choose another path"
        raise StoreAccessError(f"{path} is {kind}, not an SQLite file", hint=hint)
    elif engine == "rocksdb" and kind != "a folder":
        hint = "use sqlite:///PATH" if kind == "file" else "choose another path"
        raise StoreAccessError(f"{path} is {kind}, not a folder of RocksDB", hint=hint)


def require_own(engine: str, path: Path, *, create: bool) -> None:
    """Raise unless ``path`` is absent, empty, or a CozoDB database; call it inside the lease.

    Raises:
        StoreAccessError: It is empty and ``create`` is not set, or it can't be read.
        StoreCorruptError: It is another program's, or damaged.
    """
    try:
        empty = _require_sqlite(path) if engine == "sqlite" else _require_rocksdb(path)
    except OSError as error:
        raise StoreAccessError(f"{path} can't be read: {error.strerror}", hint="check its permissions") from error
    if empty and not create:
        raise StoreAccessError(
            f"there is no database at {engine}:///{path}: it is empty",
            hint="fill it with dobby ingest or dobby restore",
        )


def make_private(engine: str, path: Path) -> None:
    """Create ``path``, where it is missing, readable by its owner only; CozoDB fills it.

    Raises:
        StoreAccessError: It can't be created.
    """
    try:
        if engine == "rocksdb":
            path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        elif not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreAccessError(
            f"the database {path} can't be created: {error.strerror}", hint="choose another place with --database"
        ) from error


def is_read_only(path: Path) -> bool:
    """Whether this process can read the database and not write it, as on read-only media."""
    return path.exists() and not os.access(path, os.W_OK)


@contextmanager
def readable_copy(path: Path) -> Iterator[Path]:
    """A copy of a read-only RocksDB folder that can be opened: RocksDB writes a log even to read.

    The data files, which RocksDB never changes, are linked; the small files beside them are copied.
    """
    with tempfile.TemporaryDirectory(prefix="dobby-") as folder:
        copy = Path(folder) / "database"
        for file in (file for file in path.rglob("*") if file.is_file() and not _UNNEEDED.match(file.name)):
            place = copy / file.relative_to(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".sst":
                place.symlink_to(file.resolve())
            else:
                shutil.copyfile(file, place)
        yield copy


@contextmanager
def replacing_database(engine: str, path: Path) -> Iterator[Path]:
    """A draft beside ``path``, absent or empty, that atomically takes its place at the end of the block.

    Raises:
        StoreAccessError: ``path`` is not empty, or a journal beside it would be applied to the new file.
    """
    if engine == "sqlite":
        require_no_journal(path)
        with replacing(path, mode=PRIVATE_FILE) as draft:
            yield draft
        return
    if path.exists() and any(path.iterdir()):
        raise StoreAccessError(f"rocksdb:///{path} is not empty", hint="restore into a new database")
    draft = Path(tempfile.mkdtemp(".part", ".dobby-", path.parent))
    try:
        yield draft
        draft.rename(path)
    except OSError as error:
        raise StoreAccessError(f"{path} can't be written: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def require_no_journal(path: Path) -> None:
    """Raise if SQLite would apply a journal that was left over beside ``path`` to a new file."""
    for ending in _JOURNALS:
        left = path.with_name(path.name + ending)
        if kind_of_path(left) != "nothing":
            raise StoreAccessError(
                f"{left} was left behind by another database", hint="move it away, or choose another name"
            )


def sqlite_damage(path: Path) -> list[str]:
    """The result of SQLite's integrity check, pages and indexes; one line for each problem."""
    try:
        with closing(read_sqlite(path)) as database:
            return [line for (line,) in database.execute("pragma integrity_check(20)") if line != "ok"]
    except sqlite3.DatabaseError as error:
        return [str(error)]


def read_sqlite(path: Path) -> sqlite3.Connection:
    """A read-only connection of Python's SQLite; not to be used while this process writes the file through CozoDB.

    Closing a file drops all of a process's locks on it, so that a second copy of SQLite in the process would take
    CozoDB's locks away.
    """
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def sqlite_tables(path: Path) -> set[str]:
    """The names of the tables in an SQLite file.

    Raises:
        sqlite3.DatabaseError: It can't be read.
        StoreCorruptError: CozoDB's table is there and not as CozoDB makes it: SQL in it would be run.
    """
    with closing(read_sqlite(path)) as database:
        objects = database.execute("select type, name, tbl_name, sql from sqlite_master").fetchall()
    for kind, name, table, sql in objects:
        if "cozo" not in (name, table) or (kind == "index" and sql is None):
            continue
        if kind != "table" or " ".join(str(sql).lower().split()) != _COZO_TABLE:
            raise StoreCorruptError(
                f"{path} is no database of CozoDB: its {kind} '{printable(name)}' is not CozoDB's",
                hint="do not use a database of unknown origin",
            )
    return {name for kind, name, _, _ in objects if kind in ("table", "view")}


def _require_sqlite(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        head = file.read(len(_SQLITE_MAGIC))
    if head != _SQLITE_MAGIC:
        raise StoreCorruptError(f"{path} is another program's file, not a CozoDB database", hint="choose another path")
    try:
        tables = sqlite_tables(path)
    except sqlite3.OperationalError:
        return False  # locked, or to be recovered by its next writer: a live database
    except sqlite3.DatabaseError as error:
        raise StoreCorruptError(f"{path} is damaged: {error}", hint="restore a backup") from error
    if tables and "cozo" not in tables:
        raise StoreCorruptError(f"{path} is another program's SQLite database", hint="choose another path")
    return not tables


def _require_rocksdb(path: Path) -> bool:
    names = {entry.name for entry in os.scandir(path)} if path.exists() else set()
    if names - _ROCKSDB_ENTRIES:
        raise StoreCorruptError(
            f"{path} is a folder that holds other things than a CozoDB database", hint="choose another path"
        )
    return not (path / "data" / "CURRENT").exists()
