"""One host at a time upgrades the schema: of an embedded database by its lease, of a server's by a row in it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from dobby_dagster.domain.database_address import DatabaseAddress
from dobby_dagster.domain.errors import SourceError, StoreBusyError, StoreError
from dobby_dagster.domain.host import this_host
from dobby_dagster.store.database.connection import Connection

# An upgrade that began longer ago than this was cut short. The database's clock tells.
VALID_SECONDS = 900.0
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.2

_CREATE = ":create dobby_upgrade {name: String => host: String, at: Float}"
_TAKE = """{ ?[host] := *dobby_upgrade{host, at}, host != $host, at > now() - $valid :assert none }
    { ?[name, host, at] := name = 'schema', host = $host, at = now() :put dobby_upgrade {name => host, at} }"""


@contextmanager
def upgrading(connection: Connection) -> Iterator[None]:
    """Keep other hosts from upgrading the schema while the block runs; wait for one that does.

    Raises:
        StoreBusyError: Another host has not finished within a minute; the message names it.
    """
    if not DatabaseAddress.parse(connection.url).is_server:
        yield
        return
    host = f"{this_host()}/{uuid.uuid4().hex[:8]}"
    deadline = time.monotonic() + WAIT_SECONDS
    while not _take(connection, host):
        if time.monotonic() > deadline:
            raise StoreBusyError(
                f"the schema of {connection.url} is being upgraded by host {_holder(connection).partition('@')[0]}",
                hint="wait for it; an upgrade that was cut short is taken over after a quarter of an hour",
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        if _holder(connection) == host:
            connection.run("::remove dobby_upgrade", write=True)


def _take(connection: Connection, host: str) -> bool:
    """Whether the lock is ours now. What another host creates or removes in between is an error of ours."""
    try:
        if not _exists(connection):
            connection.run(_CREATE, write=True)
        connection.run(_TAKE, {"host": host, "valid": VALID_SECONDS}, write=True)
    except SourceError:  # it was removed in between
        return False
    except StoreError as error:
        if type(error) is not StoreError:  # not of this script: a server that does not answer
            raise
        return False
    return True


def _exists(connection: Connection) -> bool:
    return any(row[0] == "dobby_upgrade" for row in connection.run("::relations").rows)


def _holder(connection: Connection) -> str:
    """Who has the lock; empty for nobody."""
    rows = connection.run("?[host] := *dobby_upgrade{host}").rows if _exists(connection) else []
    return str(rows[0][0]) if rows else ""
