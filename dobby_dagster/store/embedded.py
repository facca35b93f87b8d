"""CozoDB in this process: sqlite, rocksdb and mem."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from dobby_dagster.domain.errors import DobbyError, StoreAccessError, StoreBusyError, StoreCorruptError
from dobby_dagster.store.connection import Params, Result
from dobby_dagster.store.faults import is_panic, message_of, translate
from dobby_dagster.store.lease import Lease
from dobby_dagster.store.schema import unreadable

SQLITE_MAGIC = b"SQLite format 3\x00"
_memory: dict[str, Any] = {}
_memory_guard = threading.Lock()


class EmbeddedConnection:
    """One embedded database; open only while a script runs or a session lasts.

    Args:
        engine: ``sqlite``, ``rocksdb`` or ``mem``.
        path: The file (sqlite), the folder (rocksdb), or a name that is shared inside this process (mem).
        lease_timeout_seconds: Longest wait for other processes and for clients that know no lease.
    """

    def __init__(self, engine: str, path: str, lease_timeout_seconds: float) -> None:
        self.engine, self.path = engine, path
        self.url = f"{engine}://{path}" if engine == "mem" else f"{engine}:///{path}"
        self._timeout = lease_timeout_seconds
        self._lease = None if engine == "mem" else Lease(Path(path), lease_timeout_seconds)
        self._local = threading.local()
        if engine == "sqlite":
            refuse_foreign_file(Path(path))

    def run(self, script: str, params: Params | None = None, *, write: bool = False) -> Result:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        with self.session(write=write):
            answer = self._call(lambda: self._local.client.run(script, dict(params or {}), immutable=not write))
        return Result(answer["headers"], answer["rows"])

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[None]:
        """See :class:`~dobby_dagster.store.connection.Connection`. A session inside a session joins it."""
        if getattr(self._local, "client", None) is not None:
            if write and not self._local.write:
                raise RuntimeError("a writing session can't begin inside a reading one")
            yield
            return
        exclusive = write or self.engine == "rocksdb"
        with self._lease.hold(exclusive=exclusive) if self._lease else nullcontext():
            client = self._call(self._open)
            self._local.client, self._local.write = client, write
            try:
                yield
            finally:
                self._local.client = None
                if self.engine != "mem":
                    client.close()

    @property
    def client(self) -> Any:
        """The open pycozo client of this thread's session."""
        return self._local.client

    def export_relations(self, names: list[str]) -> dict[str, Any]:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        with self.session():
            exported: dict[str, Any] = self._call(lambda: self._local.client.export_relations(names))
            return exported

    def backup(self, path: str) -> None:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        with self.session():
            self._call(lambda: self._local.client.backup(path))

    def restore(self, path: str) -> None:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        with self.session(write=True):
            self._call(lambda: self._local.client.restore(path))

    def check(self) -> list[str]:
        """See :class:`~dobby_dagster.store.connection.Connection`."""
        if self.engine != "sqlite":
            return unreadable(self)
        with self.session(), closing(sqlite3.connect(f"{Path(self.path).resolve().as_uri()}?mode=ro", uri=True)) as db:
            return [line for (line,) in db.execute("pragma quick_check(20)") if line != "ok"]

    def close(self) -> None:
        """See :class:`~dobby_dagster.store.connection.Connection`. Embedded databases are closed between uses."""

    def _open(self) -> Any:
        from pycozo.client import Client

        if self.engine == "mem":
            with _memory_guard:
                if self.path not in _memory:
                    _memory[self.path] = Client("mem", "", dataframe=False)
                return _memory[self.path]
        folder = Path(self.path).parent
        if not folder.is_dir():
            raise StoreAccessError(f"the database's folder {folder} does not exist", hint="make it first")
        return Client(self.engine, self.path, dataframe=False)

    def _call(self, action: Any) -> Any:
        """Do ``action``, with back-off while a client that knows no lease holds the database."""
        waiting = Retrying(
            retry=retry_if_exception_type(StoreBusyError),
            wait=wait_random_exponential(multiplier=0.005, max=0.25),
            stop=stop_after_delay(self._timeout),
            reraise=True,
            sleep=time.sleep,
        )
        return waiting(self._once, action)

    def _once(self, action: Any) -> Any:
        try:
            return action()
        except DobbyError:
            raise
        except BaseException as error:
            if isinstance(error, Exception) or is_panic(error):
                raise translate(message_of(error), self.url) from None
            raise


def refuse_foreign_file(path: Path) -> None:
    """Raise unless ``path`` is absent, empty, or an SQLite file that Cozo made.

    Opening anything else would panic, or add a table to another program's database.
    """
    try:
        if not path.exists() or path.stat().st_size == 0:
            return
        with path.open("rb") as file:
            head = file.read(len(SQLITE_MAGIC))
    except IsADirectoryError:
        raise StoreAccessError(f"{path} is a folder, not an SQLite file", hint="use rocksdb:///PATH") from None
    except OSError as error:
        raise StoreAccessError(f"{path} can't be read: {error.strerror}") from error
    if head != SQLITE_MAGIC:
        raise StoreCorruptError(f"{path} is another program's file, not a CozoDB database", hint="choose another path")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return  # locked by a writer: it is somebody's live database, and Cozo itself will say whose
    except sqlite3.DatabaseError as error:
        raise StoreCorruptError(f"{path} is damaged: {error}", hint="restore a backup") from error
    if tables and "cozo" not in tables:
        raise StoreCorruptError(f"{path} is another program's SQLite database", hint="choose another path")
