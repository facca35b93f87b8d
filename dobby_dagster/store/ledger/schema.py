"""The version of the schema in a database, and how it is brought up to date."""

from __future__ import annotations

import uuid
from typing import Any

from dobby_dagster.domain.errors import SchemaError
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.migrations import MIGRATIONS
from dobby_dagster.store.ledger.relations import META, RECORD
from dobby_dagster.store.ledger.upgrade_lock import upgrading

LATEST = len(MIGRATIONS)
_OWN_COLUMNS = set(RECORD.columns) - {"created_at", "updated_at"}


def schema_version(connection: Connection) -> int:
    """The version of the schema in the database; 0 where there is none.

    Raises:
        SchemaError: The stored value is not a version.
    """
    if "dobby_meta" not in relations(connection):
        return 0
    rows = connection.run("?[value] := *dobby_meta{name: 'schema_version', value}").rows
    version = rows[0][0] if rows else 0
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise SchemaError(f"{connection.url} has an invalid schema version, {version!r}", hint="restore a backup")
    return version


def relations(connection: Connection) -> set[str]:
    """The names of all stored relations, and of their indexes."""
    return {str(row[0]) for row in connection.run("::relations").rows}


def migrate(connection: Connection, target: int = LATEST) -> int:
    """Bring the schema to ``target``; return the version that it had.

    Raises:
        SchemaError: The database is newer than this program, or has a relation ``record`` that is not Dobby's.
    """
    with connection.session():
        before = schema_version(connection)
        if before:
            _require_same_driver(connection)
    if before == target:
        return before
    if before > LATEST:
        raise SchemaError(
            f"{connection.url} has schema version {before}, this Dobby knows {LATEST}", hint="upgrade dobby-dagster"
        )
    with connection.session(write=True), upgrading(connection):
        existing = relations(connection)
        if before == 0 and "record" in existing:
            columns = {row[0] for row in connection.run("::columns record").rows}
            if not columns >= _OWN_COLUMNS:
                raise SchemaError(
                    f"{connection.url} has a relation 'record' of its own, with columns {', '.join(sorted(columns))}",
                    hint="rename it with ::rename record -> NAME, and use --relation NAME",
                )
        if "dobby_meta" not in existing:
            connection.run(":create dobby_meta {name: String => value: Json}", write=True)
            note_driver(connection)
        for number in range(schema_version(connection), target):
            for script in MIGRATIONS[number]():
                _apply(connection, script, relations(connection))
            set_meta(connection, "schema_version", number + 1)
        if target == LATEST and not identity(connection):
            set_meta(connection, "identity", uuid.uuid4().hex)
    return before


def identity(connection: Connection) -> str:
    """A random identifier of this database; its copies and backups have the same."""
    rows = connection.run("?[value] := *dobby_meta{name: 'identity', value}").rows
    return str(rows[0][0]) if rows else ""


def memory(connection: Connection) -> dict[str, Any]:
    """The settings that earlier commands named; see :mod:`dobby_dagster.domain.remembered`."""
    rows = connection.run("?[value] := *dobby_meta{name: 'in_use', value}").rows
    return dict(rows[0][0]) if rows and isinstance(rows[0][0], dict) else {}


def note_driver(connection: Connection) -> None:
    """Store which package writes the database from now on."""
    if connection.driver and connection.driver != _driver_of(connection):
        set_meta(connection, "driver", connection.driver)


def _driver_of(connection: Connection) -> str:
    """The driver that wrote the database; before there was a choice, that was CozoDB."""
    rows = connection.run("?[value] := *dobby_meta{name: 'driver', value}").rows
    return str(rows[0][0]) if rows else "cozo"


def _require_same_driver(connection: Connection) -> None:
    written = _driver_of(connection)
    if connection.driver and connection.driver != written:
        raise SchemaError(
            f"{connection.url} was written by {written}, and database.driver is '{connection.driver}'",
            hint=f"set database.driver = '{written}', or make a copy for {connection.driver}: dobby backup with"
            f" {written}, dobby restore into a new database with {connection.driver}",
        )


def _apply(connection: Connection, script: str, existing: set[str]) -> None:
    words = script.split()
    made = words[2].replace("{", "") if words[0] in ("::index", "::fts") else words[1]
    wanted = words[:2] != ["::index", "drop"]
    if words[0] in (":create", "::index", "::fts") and (made in existing) is wanted:
        return
    connection.run(script, write=True)


def set_meta(connection: Connection, name: str, value: object) -> None:
    """Store one fact about the database."""
    connection.run(META.put(), {"rows": [[name, value]]}, write=True)
