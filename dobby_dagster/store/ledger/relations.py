"""Dobby's stored relations as they are now; what made them so is in :mod:`~dobby_dagster.store.ledger.migrations`."""

from __future__ import annotations

from dobby_dagster.store.cozoscript.relation import Relation
from dobby_dagster.store.cozoscript.script import MOMENT

RECORD = Relation(
    "record",
    "key: String",
    "content: Any?, source: String, content_type: String, language: String, size: Int, priority: Int, metadata: Json,"
    " created_at: Float, updated_at: Float",
)
META = Relation("dobby_meta", "name: String", "value: Json")
CLOCK = Relation("dobby_clock", "name: String", "at: Int")
SOURCE = Relation("dobby_source", "relation: String", "tracking: String, watermark: Any?, compared_at: Float?")
VERSION = Relation(
    "dobby_version",
    "source: String, key: String, at: Validity",
    "content_hash: String, priority: Int, size: Int, deleted: Bool",
)
WAITING = Relation(
    "dobby_waiting", "source: String, rank: Int, key: String", "content_hash: String, priority: Int, size: Int"
)
BATCH = Relation("dobby_batch", "batch: String", "source: String, members: Int, created_at: Float")
MEMBER = Relation(
    "dobby_member",
    "batch: String, position: Int",
    "source: String, key: String, content_hash: String, priority: Int, size: Int",
)
RECIPE = Relation(
    "dobby_recipe",
    "recipe: String",
    "prompt: String, prompt_text: String, model: String, model_revision: String, settings: Json, used_at: Float",
)
STATE = Relation(
    "dobby_state",
    "source: String, key: String, content_hash: String, recipe: String, at: Validity",
    "state: String, error: String, error_code: String, retry: String, retry_count: Int, reason: String, owner: String,"
    " batch: String, run: String, since: Float",
)
SUMMARY = Relation(
    "dobby_summary",
    "source: String, key: String, fingerprint: String",
    "content_hash: String, text: String, confidence: Float?, mean_logprob: Float?, min_logprob: Float?,"
    " finish_reason: String, prompt_tokens: Int?, output_tokens: Int?, truncated: Bool, model: String, prompt: String,"
    " recipe: String, batch: String, run: String, inference_seconds: Float, created_at: Float",
)
DOCUMENT = Relation(
    "dobby_document", "source: String, key: String", "recipe: String, content_hash: String, words: String"
)
VECTOR_BATCH = Relation(
    "dobby_vector_batch",
    "source: String, recipe: String, batch: String",
    "embedding: String, chunks: Int, pages: Int, stamp: String",
)
VECTOR = Relation(
    "dobby_vector",
    "source: String, recipe: String, batch: String, page: Int",
    "embedding: String, keys: [String], digests: Bytes, vectors: Bytes",
)
UNINDEXED = Relation("dobby_unindexed", "source: String, key: String")
CHUNK = Relation(
    "dobby_chunk",
    "batch: String, recipe: String, chunk: String",
    "run: String, started_at: Float, finished_at: Float, completed: Int, inferred: Int, failed: Int, skipped: Int,"
    " latencies: Json, rss_bytes: Int, cpu_share: Float, slots: Int, slots_in_use: Float, last_error: String,"
    " prompt_tokens: Int?, output_tokens: Int?, device: String?, queue_seconds: Float?",
)
TOTAL = Relation("dobby_total", "name: String, label: String", "value: Float")
METRIC = Relation("dobby_metric", "batch: String, recipe: String", "stored_at: Float, values: Json")
PERFORMANCE = Relation(
    "dobby_performance", "model: String, device: String, prompt_length: String", "first: Json, latest: Json"
)
OWNER = Relation("dobby_owner", "owner: String, batch: String, recipe: String", "run: String, since: Float")
RENEWAL = Relation("dobby_renewal", "owner: String", "at: Float, seconds: Float")
ATTEMPT = Relation("dobby_attempt", "batch: String, recipe: String, run: String", "requested: Bool, begun_at: Float")
DEVICE_WAIT = Relation("dobby_device_wait", "run: String", "seconds: Float, at: Float")
STALL = Relation(
    "dobby_stall", "run: String, recipe: String", "batches: Json, at: Float, kind: String, seconds: Float, keys: Json"
)
SUSPECT = Relation(
    "dobby_suspect", "recipe: String, batch: String, source: String, key: String, content_hash: String", "stalls: Int"
)
CHANGE = Relation("dobby_change", "at: Int, source: String", "keys: [String]")
WAITING_COUNT = Relation("dobby_waiting_count", "source: String", "count: Int")
EDGE = Relation(
    "dobby_edge", "start: String, kind: String, end: String", "found_by: String, certainty: Float, origin: String"
)
OUTLINE = Relation(
    "dobby_outline",
    "key: String",
    "origin: String, parent: String, kind: String, language: String, documentation: String, digest: String,"
    " recipe: String, due: String",
)

# What a pending record has in the columns of STATE that a transition does not name.
_PENDING = {
    "recipe": "$recipe", "state": "'pending'", "error": "''", "error_code": "''", "retry": "'no_retry'",
    "retry_count": "0", "reason": "''", "owner": "''", "batch": "$batch", "run": "''", "since": "now()",
}  # fmt: skip


def transition(rows: str, bound: str, **values: str) -> str:
    """A block that gives record versions a new state: pending, but for what is bound or named.

    Args:
        rows: A relation that holds them.
        bound: Its columns, ``source, key, content_hash`` and those of the state that it keeps.
        values: Other columns, as expressions.
    """
    columns = {name: term for name, term in (_PENDING | values).items() if name not in bound.split(", ")}
    terms = ", ".join(f"{name} = {term}" for name, term in columns.items())
    return f"{{ {STATE.head} := *{rows}{{{bound}}}, {MOMENT}, {terms} {STATE.into} }}"
