"""One host at a time upgrades the schema: of an embedded database by its lease, of a server's by a row in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dobby_dagster.domain.database_address import DatabaseAddress
from dobby_dagster.domain.errors import SourceError, StoreBusyError, StoreError
from dobby_dagster.domain.owner import Renewal, host_of, is_alive, new_owner, on_this_host, retire
from dobby_dagster.domain.scope import OwnerId
from dobby_dagster.store.database.connection import Connection

# A lock that was not renewed for this long, by the database's clock, is of a host that died.
VALID_SECONDS = 30.0
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.2

_CREATE = ":create dobby_upgrade {name: String => owner: String, at: Float}"
_PUT = "?[name, owner, at] := name = 'schema', owner = $owner, at = now() :put dobby_upgrade {name => owner, at}"
_RENEW = """?[name, owner, at] := *dobby_upgrade{name, owner}, owner == $owner, at = now()
    :put dobby_upgrade {name => owner, at}"""
# Nobody else has it, or still as it was when it was read as abandoned.
_TAKE = f"""{{ ?[owner] := *dobby_upgrade{{owner, at}}, owner != $owner, is_null($abandoned) || at != $abandoned :assert none }}
    {{ {_PUT} }}"""


@contextmanager
def upgrading(connection: Connection) -> Iterator[None]:
    """Keep other hosts from upgrading the schema while the block runs; wait for one that does.

    Raises:
        StoreBusyError: Another host has not finished within a minute; the message names it.
    """
    if not DatabaseAddress.parse(connection.url).is_server:
        yield
        return
    owner, ended = new_owner(), threading.Event()
    try:
        _wait_for(connection, owner)
        threading.Thread(target=_renew, args=(connection, owner, ended), daemon=True, name="dobby-upgrade").start()
        yield
    finally:
        ended.set()
        retire(owner)
        with suppress(StoreError, SourceError):  # it lapses
            if _holder(connection)[0] == owner:
                connection.run("::remove dobby_upgrade", write=True)


def _wait_for(connection: Connection, owner: OwnerId) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not _take(connection, owner):
        if time.monotonic() > deadline:
            raise StoreBusyError(
                f"the schema of {connection.url} is being upgraded by host {host_of(_holder(connection)[0]).name}",
                hint="wait for it",
            )
        time.sleep(POLL_SECONDS)


def _renew(connection: Connection, owner: OwnerId, ended: threading.Event) -> None:
    while not ended.wait(VALID_SECONDS / 6):
        with suppress(StoreError, SourceError):
            connection.run(_RENEW, {"owner": owner}, write=True)


def _take(connection: Connection, owner: OwnerId) -> bool:
    """Whether the lock is ours now. What another host creates or removes in between is an error of ours."""
    try:
        if not _exists(connection):
            connection.run(_CREATE, write=True)
        holder, renewal = _holder(connection)
        abandoned = renewal.at if renewal and not _is_held(holder, renewal) else None
        connection.run(_TAKE, {"owner": owner, "abandoned": abandoned}, write=True)
    except SourceError:  # it was removed in between
        return False
    except StoreError as error:
        if type(error) is not StoreError:  # not of this script: a server that does not answer
            raise
        return False
    return True


def _is_held(holder: str, renewal: Renewal) -> bool:
    return renewal.is_valid and (not on_this_host(holder) or is_alive(holder, 0.0))


def _exists(connection: Connection) -> bool:
    return any(row[0] == "dobby_upgrade" for row in connection.run("::relations").rows)


def _holder(connection: Connection) -> tuple[str, Renewal | None]:
    """Who has the lock, and when it was renewed; an empty name for nobody."""
    if not _exists(connection):
        return "", None
    rows = connection.run("?[owner, at, age] := *dobby_upgrade{owner, at}, age = now() - at").rows
    return (str(rows[0][0]), Renewal(rows[0][1], VALID_SECONDS, rows[0][2])) if rows else ("", None)
