"""CozoDB in this process: sqlite, rocksdb and mem."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from dobby_dagster.domain.database_address import DatabaseAddress
from dobby_dagster.domain.errors import DobbyError, StoreAccessError, StoreBusyError, StoreError, StoreFaultError
from dobby_dagster.store.cozoscript.parameters import check_parameters
from dobby_dagster.store.database import database_files
from dobby_dagster.store.database.connection import Params, Result
from dobby_dagster.store.database.cozo_errors import is_panic, message_of, translate
from dobby_dagster.store.database.drivers import Driver, open_client
from dobby_dagster.store.database.lease import Lease

_memory: dict[tuple[Driver, str], Any] = {}
_memory_guard = threading.Lock()


class EmbeddedConnection:
    """One embedded database; open only while a script runs or a session lasts.

    Args:
        engine: ``sqlite``, ``rocksdb`` or ``mem``.
        path: The file (sqlite), the folder (rocksdb), or a name that is shared inside this process (mem).
        lease_timeout_seconds: Longest wait for other processes, and for clients that take no lease.
        driver: The package that runs it.
        query_seconds: The longest time of a query, where the driver has such a limit.
        create: Create a database that is missing; else that is an error.
        leased: Take the lease; False only for a file that no other process knows of.
    """

    def __init__(
        self,
        engine: str,
        path: str,
        lease_timeout_seconds: float,
        *,
        driver: Driver = "cozo",
        query_seconds: float = 30.0,
        create: bool = True,
        leased: bool = True,
    ) -> None:
        self.engine, self.path = engine, path
        self.driver: Driver | None = driver
        self._driver, self._query_seconds = driver, query_seconds
        self.url = str(DatabaseAddress(engine, path))
        self._timeout, self._create = lease_timeout_seconds, create
        self._lease = Lease(Path(path), lease_timeout_seconds) if leased and engine != "mem" else None
        self._local = threading.local()
        self._checked = False

    def run(self, script: str, params: Params | None = None, *, write: bool = False) -> Result:
        """See :class:`~dobby_dagster.store.database.connection.Connection`."""
        check_parameters(params or {}, write=write)
        with self.session(write=write):
            answer = self._call(lambda: self._local.client.run(script, dict(params or {}), immutable=not write))
        return Result(answer["headers"], answer["rows"])

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[None]:
        """See :class:`~dobby_dagster.store.database.connection.Connection`. A session inside a session joins it."""
        if getattr(self._local, "client", None) is not None:
            if write and not self._local.write:
                raise RuntimeError("a writing session can't start inside a reading one")
            yield
            return
        if self.engine == "mem":
            with self._opened(write, ""):
                yield
            return
        path = Path(self.path)
        database_files.require_place(self.engine, path, create=self._creates)
        read_only = not write and database_files.is_read_only(path)
        exclusive = write or (self.engine == "rocksdb" and not read_only)
        copied = self.engine == "rocksdb" and read_only
        with (
            self._lease.hold(exclusive=exclusive) if self._lease else nullcontext(),
            database_files.readable_copy(path) if copied else nullcontext(path) as opened,
        ):
            # It may have been moved away while this waited for the lease.
            database_files.require_place(self.engine, path, create=self._creates)
            if not self._checked:
                database_files.require_own(self.engine, path, create=self._create)
            if self._creates:
                database_files.make_private(self.engine, path)
            self._checked = True
            with self._opened(write, str(opened)):
                yield

    @property
    def _creates(self) -> bool:
        """A database that was there and is gone is lost; a new one in its place would hide that."""
        return self._create and not self._checked

    @property
    def client(self) -> Any:
        """The open pycozo client of this thread's session."""
        return self._local.client

    @contextmanager
    def replacement(self) -> Iterator[EmbeddedConnection]:
        """An empty database that atomically replaces this one at the end of the block.

        Raises:
            StoreAccessError: This database is not empty.
        """
        if self.engine == "mem":
            self._require_empty()
            yield self
            return
        path = Path(self.path)
        database_files.require_place(self.engine, path, create=True)
        with self._lease.hold(exclusive=True) if self._lease else nullcontext():
            database_files.require_own(self.engine, path, create=True)
            if self.engine == "sqlite" and path.exists() and path.stat().st_size:
                self._unleased(self.path)._require_empty()
            with database_files.replacing_database(self.engine, path) as draft:
                yield self._unleased(str(draft))

    def backup(self, path: str) -> None:
        """See :class:`~dobby_dagster.store.database.connection.Connection`."""
        with self.session():
            self._call(lambda: self._local.client.backup(path))

    def restore(self, path: str) -> None:
        """See :class:`~dobby_dagster.store.database.connection.Connection`."""
        with self.session(write=True):
            self._call(lambda: self._local.client.restore(path))

    def check(self) -> list[str]:
        """See :class:`~dobby_dagster.store.database.connection.Connection`."""
        if self.engine != "sqlite":
            return []
        with self.session():
            return database_files.sqlite_damage(Path(self.path))

    def close(self) -> None:
        """See :class:`~dobby_dagster.store.database.connection.Connection`. Embedded databases are closed between uses."""

    def _unleased(self, path: str) -> EmbeddedConnection:
        return EmbeddedConnection(
            self.engine, path, self._timeout, driver=self._driver, query_seconds=self._query_seconds, leased=False
        )

    def _require_empty(self) -> None:
        if self.run("::relations").rows:
            raise StoreAccessError(f"{self.url} is not empty", hint="restore into a new database")

    @contextmanager
    def _opened(self, write: bool, path: str) -> Iterator[None]:
        client = self._call(lambda: self._open(path))
        self._local.client, self._local.write = client, write
        try:
            yield
        finally:
            self._local.client = None
            if self.engine != "mem":
                client.close()

    def _open(self, path: str) -> Any:
        if self.engine != "mem":
            return open_client(self._driver, self.engine, path, self._query_seconds)
        with _memory_guard:
            if (self._driver, self.path) not in _memory:
                _memory[self._driver, self.path] = open_client(self._driver, "mem", "", self._query_seconds)
            return _memory[self._driver, self.path]

    def _call(self, action: Any) -> Any:
        """Do ``action``, with exponential backoff while a client that takes no lease has locked the database."""
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
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            translated = translate(message_of(error), self.url)
            if "eval::timeout" in translated.message:
                raise StoreFaultError(
                    f"a query of {self.url} took longer than {self._query_seconds:g} s",
                    hint="raise database.timeout_seconds",
                ) from None
            if is_panic(error) and type(translated) is StoreError:
                raise StoreFaultError(f"CozoDB panicked: {translated.message}") from None
            raise translated from None
