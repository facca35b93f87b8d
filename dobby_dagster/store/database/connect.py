"""From a database URL to a connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.database.drivers import Driver, require_driver
from dobby_dagster.store.database.embedded_connection import EmbeddedConnection


def connect(settings: DatabaseSettings, *, create: bool = True) -> Connection:
    """The connection that ``settings.url`` names; the database is opened by the first script.

    Args:
        settings: Where the database is.
        create: Create an embedded database that is missing; else the first script raises StoreAccessError.
    """
    address = settings.address
    require_driver(settings.driver)
    if address.is_server:
        # Its HTTP client takes 10 MB, which the monitor of an embedded database has no use for.
        from dobby_dagster.store.database.http_connection import HttpConnection

        return HttpConnection(settings)
    return EmbeddedConnection(
        address.engine,
        address.place,
        settings.lease_timeout_seconds,
        driver=settings.driver,
        query_seconds=settings.timeout_seconds,
        create=create,
    )


@contextmanager
def cozo_client(url: str, lease_timeout_seconds: float = 60.0, driver: Driver = "cozo") -> Iterator[Any]:
    """A plain pycozo client that never collides with Dobby: it is open only inside the lease.

    Keep the block short: other processes wait for it.

    Args:
        url: Of an embedded database.
        lease_timeout_seconds: Longest wait for other processes.
        driver: The package that runs it, as ``database.driver``.

    >>> with cozo_client("mem://example") as db:
    ...     db.run("?[x] <- [[1]]")["rows"]
    [[1]]
    """
    connection = connect(DatabaseSettings(url=url, lease_timeout_seconds=lease_timeout_seconds, driver=driver))
    if not isinstance(connection, EmbeddedConnection):
        raise ValueError(f"{url} is a server: use pycozo's own Client, it needs no lease")
    with connection.session(write=True):
        yield connection.client
