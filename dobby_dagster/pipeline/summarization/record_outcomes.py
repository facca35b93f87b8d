"""From a record and what the engine said of it to the outcome that is committed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.errors import RecordError
from dobby_dagster.domain.records import Record, content_hash, readable_text
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.states import COMPLETED, DELETED, SUPERSEDED, ProcessingState, skipped
from dobby_dagster.domain.summaries import Recipe, Summary
from dobby_dagster.inference.engine import Generation
from dobby_dagster.pipeline.callees.callee_context import with_context
from dobby_dagster.pipeline.summarization.second_try import Attempt
from dobby_dagster.store.ledger.chunk import Outcome
from dobby_dagster.store.ledger.record_states import Member, Seen


@dataclass(frozen=True, slots=True)
class Item:
    """A member of a batch with its record as the source holds it now, and what is told of its callees."""

    member: Member
    record: Record
    fingerprint: str
    context: str = ""

    @property
    def text(self) -> str:
        """The content as the model reads it, after what is told of its callees."""
        return with_context(self.context, readable_text(self.record.content) or "")

    @property
    def attempt(self) -> int:
        """The number of this attempt, counted from 1."""
        return (self.member.state.retry_count if self.member.state else 0) + 1


def skipped_outcome(member: Member, record: Record | None) -> Outcome | None:
    """The outcome of a member that needs no summary: it is deleted, edited, empty or binary; None if it needs one."""
    reason = DELETED if record is None else _reason_to_skip(record, member)
    content = record.content if record else None
    return Outcome(member.version, content, skipped(reason), seen=member.seen) if reason else None


def reused_outcome(item: Item, scope: Scope, row: Mapping[str, object]) -> Outcome:
    """The outcome of an item whose content has a stored summary, ``row``: the same one, under this record as well."""
    version = item.member.version
    values = {name: value for name, value in row.items() if name in Summary.__dataclass_fields__}
    values |= {"source": version.source, "key": version.key, "fingerprint": item.fingerprint}
    if row["key"] != version.key or row["source"] != version.source:
        values |= {"batch": scope.batch, "inference_seconds": 0.0, "created_at": time.time()}
    summary = Summary(**values)  # type: ignore[arg-type]
    return Outcome(version, item.record.content, COMPLETED, summary, attempt=item.attempt, seen=item.member.seen)


def inferred_outcomes(
    items: Sequence[Item], scope: Scope, recipe: Recipe, result: Attempt | RecordError, seen: Seen
) -> Iterator[tuple[Outcome, Generation | None]]:
    """The outcomes of items with equal contents; the inference counts for the first of them only.

    Args:
        items: All with the content that was inferred.
        scope: The batch and the run.
        recipe: What made the result.
        result: Of the engine and the quality gate.
        seen: The state of the items, which are claimed.
    """
    found = result if isinstance(result, RecordError) else result.error or result.output
    for place, item in enumerate(items):
        version, content = item.member.version, item.record.content
        if isinstance(found, RecordError):
            state = ProcessingState.failed(found, item.attempt)
            yield Outcome(version, content, state, attempt=item.attempt, seen=seen), None
            continue
        first = place == 0
        summary = _summary(item, scope, recipe, found, found.seconds if first else 0.0)
        yield Outcome(version, content, COMPLETED, summary, first, item.attempt, seen), found if first else None


def _summary(item: Item, scope: Scope, recipe: Recipe, result: Generation, seconds: float) -> Summary:
    version = item.member.version
    return Summary(
        source=version.source,
        key=version.key,
        fingerprint=item.fingerprint,
        content_hash=version.content_hash,
        text=result.text,
        confidence=result.confidence,
        mean_logprob=result.mean_logprob,
        min_logprob=result.min_logprob,
        finish_reason=result.finish_reason,
        prompt_tokens=result.prompt_tokens,
        output_tokens=result.output_tokens,
        truncated=result.truncated,
        model=recipe.model,
        prompt=recipe.prompt,
        recipe=recipe.id,
        batch=scope.batch,
        inference_seconds=seconds,
        created_at=time.time(),
    )


def _reason_to_skip(record: Record, member: Member) -> str:
    if content_hash(record.content) != member.version.content_hash:
        return SUPERSEDED
    if record.kind == "empty":
        return "empty content"
    if readable_text(record.content) is None:
        return f"binary content, {record.size:,} bytes"
    return ""
