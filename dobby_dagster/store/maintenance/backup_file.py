"""Backups: one file with all data and a manifest of it, and how it is restored.

A backup is the SQLite file that CozoDB writes, with one more table, the manifest: the rows of each relation and a
SHA-256 over all that is stored. It is written beside its name, read again, and only then named.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dobby_dagster import __version__
from dobby_dagster.domain.atomic_file import replacing
from dobby_dagster.domain.errors import StoreAccessError, StoreCorruptError, StoreError
from dobby_dagster.domain.filesystem import PRIVATE_FILE, kind_of_path
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.database.connect import connect
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.database.database_files import read_sqlite, require_no_journal, sqlite_damage, sqlite_tables
from dobby_dagster.store.database.embedded_connection import EmbeddedConnection
from dobby_dagster.store.ledger.schema import note_driver
from dobby_dagster.store.maintenance.integrity import Reading, read_everything
from dobby_dagster.store.maintenance.triggers import set_again

_MANIFEST = "dobby_backup"
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup states about its content.

    Attributes:
        rows: Rows by relation, indexes included.
        sha256: Over every stored pair of key and value, in the order of keys.
        database: The URL that it was made of.
        made_at: Seconds since the epoch.
        dobby: The version that made it.
    """

    rows: dict[str, int]
    sha256: str
    database: str
    made_at: float
    dobby: str


def write_backup(connection: Connection, path: Path) -> Reading:
    """Write all data of the database to the new file ``path``, readable by its owner only; return what it contains.

    The file gets its name only after it was read back, row by row, and compared with the database. A server writes on
    its own machine, where the file can't be read: what is returned then is what the server has.

    Raises:
        StoreAccessError: The file exists already or can't be written.
        StoreCorruptError: The database is damaged, or what was written is.
    """
    if not isinstance(connection, EmbeddedConnection):
        connection.backup(str(path))
        return read_everything(connection)
    with replacing(path, mode=PRIVATE_FILE, overwrite=False) as draft:
        require_no_journal(path)
        with connection.session():
            held = read_everything(connection)
            if held.problems:
                raise StoreCorruptError(
                    f"{connection.url} is damaged, and no backup was made: {held.problems[0]}",
                    hint="restore an earlier backup; dobby export saves the summaries that can be read",
                )
            connection.backup(str(draft))
        _require_undamaged(draft)
        written = _read(draft)
        if written.rows != held.rows:
            raise StoreCorruptError(f"the backup of {connection.url} came out incomplete: {_difference(held, written)}")
        _sign(draft, Manifest(written.rows, _digest(draft), connection.url, time.time(), __version__))
        _require_undamaged(draft)
        return written


def verify_backup(path: Path) -> Reading:
    """Read all of the backup at ``path`` and compare it with its manifest; return what it contains.

    A backup without a manifest, of an earlier version or by another client of CozoDB, is only read.

    Raises:
        StoreAccessError: There is no such file.
        StoreCorruptError: It is not a backup, incomplete, empty, damaged, or differs from its manifest.
    """
    kind = kind_of_path(path, follow=True)
    if kind != "file":
        raise StoreAccessError(f"there is no backup at {path}" + (f": it is {kind}" if kind != "nothing" else ""))
    try:
        require_no_journal(path)
    except StoreAccessError as error:
        raise StoreCorruptError(f"{path} is not finished: the backup was interrupted ({error.message})") from error
    manifest = _manifest(path)
    _require_undamaged(path)
    if manifest is not None and _digest(path) != manifest.sha256:
        raise StoreCorruptError(f"the backup {path} was changed or damaged since it was made: its checksum differs")
    held = _read(path)
    if not held.rows:
        raise StoreCorruptError(f"{path} is a database of CozoDB without any relation, and no backup")
    if manifest is not None and held.rows != manifest.rows:
        raise StoreCorruptError(f"the backup {path} is not what it was: {_difference(Reading(manifest.rows), held)}")
    return held


def restore(settings: DatabaseSettings, path: Path) -> Reading:
    """Fill the new, empty database at ``settings.url`` from the backup at ``path``; return what it contains.

    The backup is verified before, and the database after; the database is created whole or not at all.

    Raises:
        StoreAccessError: There is no such backup, or the database is not empty or can't be written.
        StoreCorruptError: The backup is damaged, or another program's file; it is left as it is.
        StoreUnavailableError: The database is a server's.
    """
    held = verify_backup(path)
    with connect(settings).replacement() as new:
        try:
            new.restore(str(path))
        except StoreAccessError:
            raise
        except StoreError as error:
            raise StoreCorruptError(f"the backup {path} can't be restored: {error.message}") from error
        restored = read_everything(new)
        if restored.problems or restored.rows != held.rows:
            wrong = restored.problems[0] if restored.problems else _difference(held, restored)
            raise StoreCorruptError(f"{settings.url} was not restored from {path}: {wrong}")
        _take_over(new, restored)
    return held


def _take_over(connection: Connection, restored: Reading) -> None:
    """Make a restored database the driver's own, whichever wrote the backup."""
    if connection.driver != "cozo":
        set_again(connection)
    if "dobby_meta" in restored.rows:
        note_driver(connection)


def _require_undamaged(path: Path) -> None:
    if damage := sqlite_damage(path):
        raise StoreCorruptError(f"the backup {path} is damaged: {damage[0]}", hint="use another backup")


def _read(path: Path) -> Reading:
    """Every row of the backup, through CozoDB."""
    reading = read_everything(EmbeddedConnection("sqlite", str(path), _PATIENCE_SECONDS, create=False, leased=False))
    if reading.problems:
        raise StoreCorruptError(f"the backup {path} is damaged: {reading.problems[0]}", hint="use another backup")
    return reading


def _manifest(path: Path) -> Manifest | None:
    """The manifest of the backup; None where it has none.

    Raises:
        StoreCorruptError: It is another program's file, or its manifest can't be read.
    """
    if path.stat().st_size == 0:
        raise StoreCorruptError(f"{path} is empty, and no backup")
    try:
        tables = sqlite_tables(path)
        if not tables:
            raise StoreCorruptError(f"{path} is an empty SQLite database, and no backup")
        if "cozo" not in tables or tables - {"cozo", _MANIFEST}:
            raise StoreCorruptError(f"{path} is another program's SQLite database, and no backup")
        if _MANIFEST not in tables:
            return None
        with closing(read_sqlite(path)) as database:
            [(text,)] = database.execute(f"select manifest from {_MANIFEST}").fetchall()  # noqa: S608
        values: dict[str, Any] = json.loads(text)
        return Manifest(**values)
    except sqlite3.DatabaseError as error:
        raise StoreCorruptError(f"{path} is damaged or no backup: {error}") from error
    except (ValueError, TypeError) as error:
        raise StoreCorruptError(f"the manifest of the backup {path} can't be read: {error}") from error


def _sign(path: Path, manifest: Manifest) -> None:
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"create table {_MANIFEST} (manifest text not null)")
            database.execute(
                f"insert into {_MANIFEST} values (?)",  # noqa: S608
                [json.dumps({name: getattr(manifest, name) for name in Manifest.__slots__}, sort_keys=True)],
            )
    except sqlite3.DatabaseError as error:
        raise StoreAccessError(f"the backup can't be written: {error}", hint="is the disk full?") from error


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with closing(read_sqlite(path)) as database:
        for key, value in database.execute("select k, v from cozo order by k"):
            for part in (key, value or b""):
                digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _difference(expected: Reading, found: Reading) -> str:
    for name in sorted({*expected.rows, *found.rows}):
        wanted, there = expected.rows.get(name, 0), found.rows.get(name, 0)
        if wanted != there or (name in expected.rows) != (name in found.rows):
            return f"relation {name} has {counted(there, 'row')} and should have {wanted:,}"
    return "nothing"
