"""Work and outcomes as Arrow record batches, one a chunk: what flows between the assets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa

from dobby_dagster.domain.errors import Retry
from dobby_dagster.domain.records import Content, Record, RecordVersion, Structured, content_bytes
from dobby_dagster.domain.scope import BatchId
from dobby_dagster.domain.states import ProcessingState, State
from dobby_dagster.domain.summaries import Summary
from dobby_dagster.pipeline.summarization.summarizer import Item
from dobby_dagster.store.ledger.chunks import Chunk, ChunkStats, Outcome
from dobby_dagster.store.ledger.record_states import Member

_VERSION = [("source", pa.string()), ("key", pa.string()), ("content_hash", pa.string())]
_CONTENT = [("content_kind", pa.string()), ("content", pa.binary())]
PENDING = pa.schema(
    [("batch", pa.string()), *_VERSION, ("priority", pa.int64()), ("size", pa.int64()), ("state", pa.string())]
)
WORK = pa.schema([*_VERSION, ("member", pa.string()), ("present", pa.bool_()), ("language", pa.string()), *_CONTENT])
OUTCOMES = pa.schema([*_VERSION, ("state", pa.string()), ("inferred", pa.bool_()), ("summary", pa.string()), *_CONTENT])
BATCH = b"dobby.batch"
STATS = b"dobby.stats"
# Flat ones, a thousand times a second: asdict would copy every value first.
_VERSION_FIELDS, _STATE_FIELDS, _SUMMARY_FIELDS = (
    tuple(field.name for field in fields(kind)) for kind in (RecordVersion, ProcessingState, Summary)
)


def pending_table(batch: BatchId, members: Sequence[Member]) -> pa.Table:
    """What is to do in ``batch``, a row a record version; ``state`` is empty where it never had one."""
    rows = [
        {"batch": batch, **_values(m.version, _VERSION_FIELDS), "state": m.state.state.value if m.state else ""}
        for m in members
    ]
    return pa.Table.from_pylist(rows, schema=PENDING)


def work_frame(batch: BatchId, items: Sequence[Item]) -> pa.RecordBatch:
    """A chunk of work with its contents."""
    rows = []
    for item in items:
        record = item.record
        state = _values(item.member.state, _STATE_FIELDS) if item.member.state else None
        rows.append(
            {
                "source": item.member.version.source,
                "key": item.member.version.key,
                "content_hash": item.member.version.content_hash,
                "member": json.dumps(
                    [item.member.version.priority, item.member.version.size, state, item.member.since]
                ),
                "present": record is not None,
                "language": record.language if record else "",
                **_pack(record.content if record else None),
            }
        )
    return pa.RecordBatch.from_pylist(rows, schema=WORK.with_metadata({BATCH: batch.encode()}))


def work_items(frame: pa.RecordBatch) -> tuple[BatchId, list[Item]]:
    """The batch and the items of :func:`work_frame`."""
    items = []
    for row in frame.to_pylist():
        priority, size, state, since = json.loads(row["member"])
        version = RecordVersion(row["source"], row["key"], row["content_hash"], priority, size)
        member = Member(version, _state(state) if state else None, since)
        record = Record(row["key"], _unpack(row), row["source"], language=row["language"]) if row["present"] else None
        items.append(Item(member, record))
    return BatchId(frame.schema.metadata[BATCH].decode()), items


def outcome_frame(batch: BatchId, chunk: Chunk) -> pa.RecordBatch:
    """A chunk of ``batch`` that is done, its statistics beside it."""
    rows = [
        {
            "source": outcome.version.source,
            "key": outcome.version.key,
            "content_hash": outcome.version.content_hash,
            "state": json.dumps(_values(outcome.state, _STATE_FIELDS)),
            "inferred": outcome.inferred,
            "summary": json.dumps(_values(outcome.summary, _SUMMARY_FIELDS)) if outcome.summary else None,
            **_pack(outcome.content),
        }
        for outcome in chunk.outcomes
    ]
    metadata = {BATCH: batch.encode(), STATS: json.dumps(asdict(chunk.stats)).encode()}
    return pa.RecordBatch.from_pylist(rows, schema=OUTCOMES.with_metadata(metadata))


def chunk_of(frame: pa.RecordBatch) -> tuple[BatchId, Chunk]:
    """The batch and the chunk of :func:`outcome_frame`."""
    outcomes = []
    for row in frame.to_pylist():
        version = RecordVersion(row["source"], row["key"], row["content_hash"])
        summary = Summary(**json.loads(row["summary"])) if row["summary"] is not None else None
        outcomes.append(Outcome(version, _unpack(row), _state(json.loads(row["state"])), summary, row["inferred"]))
    metadata = frame.schema.metadata
    return BatchId(metadata[BATCH].decode()), Chunk(outcomes, ChunkStats(**json.loads(metadata[STATS])))


def _state(values: dict[str, Any]) -> ProcessingState:
    return ProcessingState(**(values | {"state": State(values["state"]), "retry": Retry(values["retry"])}))


def _pack(content: Content) -> dict[str, Any]:
    if content is None:
        return {"content_kind": "none", "content": b""}
    if isinstance(content, Structured):
        return {"content_kind": "json", "content": content.encode()}
    kind = "text" if isinstance(content, str) else "binary" if isinstance(content, bytes) else "structured"
    return {"content_kind": kind, "content": content_bytes(content)}


def _unpack(row: dict[str, Any]) -> Content:
    kind, data = row["content_kind"], row["content"]
    if kind == "none":
        return None
    if kind == "binary":
        return bytes(data)
    text = data.decode("utf-8", "surrogatepass")
    if kind == "json":
        return Structured(text)
    return text if kind == "text" else json.loads(text)  # type: ignore[no-any-return]


def _values(instance: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(instance, name) for name in names}
