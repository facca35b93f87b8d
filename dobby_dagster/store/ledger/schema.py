"""Dobby's relations, their version, and the way from each earlier version to the next."""

from __future__ import annotations

import uuid
from typing import Any

from dobby_dagster.domain.errors import SchemaError
from dobby_dagster.store.database.connection import Connection

# A migration is a list of scripts that are run one after another; running one again is harmless.
# Version n is what the database has after the first n of them. Append only.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """:create record {key: String => content: Any?, source: String default '', content_type: String default 'text',
            language: String default '', size: Int default 0, priority: Int default 0, metadata: Json default {},
            created_at: Float default now(), updated_at: Float default now()}""",
        ":create dobby_source {relation: String => tracking: String, watermark: Any?, compared_at: Float?}",
        """:create dobby_version {source: String, key: String, at: Validity =>
            content_hash: String, priority: Int, size: Int, deleted: Bool}""",
        """:create dobby_waiting {source: String, rank: Int, key: String =>
            content_hash: String, priority: Int, size: Int}""",
        ":create dobby_batch {batch: String => source: String, members: Int, created_at: Float}",
        """:create dobby_member {batch: String, position: Int =>
            source: String, key: String, content_hash: String, priority: Int, size: Int}""",
        """:create dobby_state {source: String, key: String, content_hash: String, recipe: String, at: Validity =>
            state: String, error: String, error_code: String, retry: String, retry_count: Int,
            reason: String, owner: String, batch: String, run: String, since: Float}""",
        """:create dobby_recipe {recipe: String => prompt: String, prompt_text: String, model: String,
            model_revision: String, settings: Json, used_at: Float}""",
        """:create dobby_summary {source: String, key: String, fingerprint: String =>
            content_hash: String, text: String, confidence: Float, mean_logprob: Float, min_logprob: Float,
            finish_reason: String, prompt_tokens: Int, output_tokens: Int, truncated: Bool,
            model: String, prompt: String, recipe: String, batch: String, run: String,
            inference_seconds: Float, created_at: Float}""",
        "::index create dobby_summary:by_fingerprint {fingerprint}",
        """:create dobby_chunk {batch: String, recipe: String, chunk: String => run: String,
            started_at: Float, finished_at: Float, completed: Int, inferred: Int, failed: Int, skipped: Int,
            latencies: Json, rss_bytes: Int, cpu_share: Float, slots: Int, slots_in_use: Float, last_error: String}""",
        ":create dobby_metric {batch: String, recipe: String => stored_at: Float, values: Json}",
    ),
    (
        ":create dobby_clock {name: String => at: Int}",
        "?[name, at] := name = 'clock', at = 0, not *dobby_clock{name} :put dobby_clock {name => at}",
        ":create dobby_owner {owner: String, batch: String, recipe: String => run: String, since: Float}",
        ":create dobby_attempt {batch: String, recipe: String, run: String => begun_at: Float}",
        "::index create dobby_chunk:by_run {run}",
    ),
    (
        # What is unknown is null. Before, a server without log-probabilities gave 0 for all three.
        "::index drop dobby_summary:by_fingerprint",
        """?[source, key, fingerprint, content_hash, text, confidence, mean_logprob, min_logprob, finish_reason,
            prompt_tokens, output_tokens, truncated, model, prompt, recipe, batch, run, inference_seconds, created_at] :=
            *dobby_summary{source, key, fingerprint, content_hash, text, confidence: c, mean_logprob: m,
                min_logprob: l, finish_reason, prompt_tokens: p, output_tokens: o, truncated, model, prompt, recipe,
                batch, run, inference_seconds, created_at},
            unknown = is_null(c) || c == 0.0, confidence = if(unknown, null, c),
            mean_logprob = if(unknown, null, m), min_logprob = if(unknown, null, l),
            prompt_tokens = if(p == 0, null, p), output_tokens = if(o == 0, null, o)
        :replace dobby_summary {source: String, key: String, fingerprint: String =>
            content_hash: String, text: String, confidence: Float?, mean_logprob: Float?, min_logprob: Float?,
            finish_reason: String, prompt_tokens: Int?, output_tokens: Int?, truncated: Bool,
            model: String, prompt: String, recipe: String, batch: String, run: String,
            inference_seconds: Float, created_at: Float}""",
        "::index create dobby_summary:by_fingerprint {fingerprint}",
    ),
)
LATEST = len(MIGRATIONS)

_OWN_COLUMNS = {"key", "content", "source", "content_type", "language", "size", "priority", "metadata"}


def schema_version(connection: Connection) -> int:
    """The version of the schema in the database; 0 where Dobby has never been.

    Raises:
        SchemaError: What is stored there is no version.
    """
    if "dobby_meta" not in relations(connection):
        return 0
    rows = connection.run("?[value] := *dobby_meta{name: 'schema_version', value}").rows
    version = rows[0][0] if rows else 0
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise SchemaError(
            f"{connection.url} has the schema version {version!r}, which is none", hint="restore a backup"
        )
    return version


def relations(connection: Connection) -> set[str]:
    """The names of all stored relations."""
    return {str(row[0]) for row in connection.run("::relations").rows}


def migrate(connection: Connection, target: int = LATEST) -> int:
    """Bring the schema to ``target``; return the version that it had.

    Raises:
        SchemaError: The database is newer than this program, or holds somebody else's relation ``record``.
    """
    with connection.session():
        before = schema_version(connection)
    if before == target:
        return before
    if before > LATEST:
        raise SchemaError(
            f"{connection.url} has schema version {before}, this Dobby knows {LATEST}", hint="upgrade dobby-dagster"
        )
    with connection.session(write=True):
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
        for number in range(schema_version(connection), target):
            for script in MIGRATIONS[number]:
                _apply(connection, script, relations(connection))
            set_meta(connection, "schema_version", number + 1)
        if target == LATEST and not identity(connection):
            set_meta(connection, "identity", uuid.uuid4().hex)
    return before


def identity(connection: Connection) -> str:
    """What tells this database from every other; copies and backups share it."""
    rows = connection.run("?[value] := *dobby_meta{name: 'identity', value}").rows
    return str(rows[0][0]) if rows else ""


def memory(connection: Connection) -> dict[str, Any]:
    """What earlier commands named; see :mod:`dobby_dagster.domain.remembered`."""
    rows = connection.run("?[value] := *dobby_meta{name: 'in_use', value}").rows
    return dict(rows[0][0]) if rows and isinstance(rows[0][0], dict) else {}


def _apply(connection: Connection, script: str, existing: set[str]) -> None:
    words = script.split()
    made = words[2].replace("{", "") if words[0] == "::index" else words[1]
    wanted = words[:2] != ["::index", "drop"]
    if words[0] in (":create", "::index") and (made in existing) is wanted:
        return
    connection.run(script, write=True)


def set_meta(connection: Connection, name: str, value: object) -> None:
    """Store one fact about the database."""
    connection.run(
        "?[name, value] <- [[$name, $value]] :put dobby_meta {name => value}",
        {"name": name, "value": value},
        write=True,
    )
