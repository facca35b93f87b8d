"""The invariants of the stored data, checked per batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.domain.states import State
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.summarization.quality_gate import gate
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_states import Member

ERROR_RATE_LIMIT = 0.01


@dataclass
class Findings:
    """Problems by invariant, one line each; all lists are empty where the invariants hold.

    Attributes:
        examined: Members that were examined.
        unaccounted: Members that are missing, pending or abandoned.
        degenerate: Stored summaries that the quality gate refuses.
        mismatched: Completed records without exactly one summary, and others with one.
        failing: Batches with too many failed records.
    """

    examined: int = 0
    unaccounted: list[str] = field(default_factory=list)
    degenerate: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)


def examine(store: CozoStore, recipe: Recipe, prompt: Prompt, batches: list[BatchId]) -> Findings:
    """Check every invariant of ``batches`` under ``recipe``."""
    found = Findings()
    planned = {batch.id: batch.members for batch in store.versions.batches()}
    for batch in batches:
        scope = Scope(recipe.id, batch)
        members, summaries = store.states.members(scope), store.batch_reports.summaries(scope)
        states = Counter(member.state.state if member.state else State.PENDING for member in members)
        found.examined += len(members)
        unfinished = states[State.PENDING] + sum(member.is_abandoned for member in members)
        if unfinished:
            found.unaccounted.append(f"{batch}: {unfinished} of {counted(len(members), 'member')} not finished")
        if planned.get(batch) != len(members):
            found.unaccounted.append(
                f"{batch}: {counted(len(members), 'member')} stored, {planned.get(batch, 0)} planned"
            )
        found.mismatched += (f"{batch}: {problem}" for problem in _mismatches(members, summaries))
        found.degenerate += (f"{batch}: {problem}" for problem in _degenerate(summaries, prompt))
        failed = states[State.FAILED]
        if members and failed / len(members) > ERROR_RATE_LIMIT:
            found.failing.append(f"{batch}: {failed} of {counted(len(members), 'record')} failed")
    return found


def _mismatches(members: list[Member], summaries: list[dict[str, Any]]) -> Iterator[str]:
    stored = Counter((row["key"], row["content_hash"]) for row in summaries)
    for member in members:
        key, count = member.version.key, stored[member.version.key, member.version.content_hash]
        completed = member.state is not None and member.state.state is State.COMPLETED
        if completed and count != 1:
            yield f"{key} is completed {f'with {count} summaries' if count else 'without a summary'} of its content"
        if not completed and count:
            yield f"{key} is not completed and has a summary of its content"


def _degenerate(summaries: list[dict[str, Any]], prompt: Prompt) -> Iterator[str]:
    for row in summaries:
        try:
            gate(row["text"], None, prompt.text)
        except DegenerateOutputError as error:
            yield f"{row['key']}: {error}"
