"""A batch, outcomes and their commit, without an engine."""

from __future__ import annotations

from dobby_dagster.domain.records import Content, RecordVersion, content_hash
from dobby_dagster.domain.scope import BatchId, RecipeId, RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.states import COMPLETED
from dobby_dagster.domain.summaries import Summary
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk, ChunkStats, Outcome
from dobby_dagster.store.ledger.record_states import Member
from dobby_dagster.store.source.source_relation import Source
from dobby_dagster_tests.helpers.records import put

R = RecipeId("recipe")


def source_with(store: CozoStore, rows: dict[str, Content]) -> Source:
    put(store, rows)
    return store.source(SourceSettings())


def batch_of(
    store: CozoStore, rows: dict[str, Content], priority: dict[str, int] | None = None
) -> tuple[Source, BatchId, list[Member]]:
    source = source_with(store, rows)
    versions = [
        RecordVersion("record", key, content_hash(content), (priority or {}).get(key, 0), 1)
        for key, content in rows.items()
    ]
    store.versions.note(source, versions, [])
    batch = store.versions.cut_batch("record", 1_000)
    assert batch is not None
    return source, batch.id, store.states.members(Scope(R, batch.id))


def done(member: Member, content: Content, batch: str = "b", text: str = "A good summary.") -> Outcome:
    version = member.version
    summary = Summary(
        "record", version.key, f"f-{version.content_hash}", version.content_hash, text, 0.5, -0.7, -1.0, "stop",
        10, 5, False, "model", "summary@1", R, batch, 0.1, 1.0,
    )  # fmt: skip
    return Outcome(version, content, COMPLETED, summary, inferred=True)


def commit(store: CozoStore, source: Source, batch: BatchId, outcomes: list[Outcome]) -> set[str]:
    return set(
        store.chunks.commit(
            source, Chunk(outcomes, ChunkStats(1.0, 2.0, [0.1])), Scope(R, batch, RunId("run"))
        ).superseded
    )
