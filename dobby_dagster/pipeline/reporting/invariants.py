"""What must always hold of the stored data, looked at from outside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.domain.states import State
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.summarization.quality_gate import gate
from dobby_dagster.store.cozo_store import CozoStore

ERROR_RATE_LIMIT = 0.01


@dataclass
class Findings:
    """Problems, one line each; all empty where the invariants hold."""

    examined: int = 0
    unaccounted: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    without_summary: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)


def examine(store: CozoStore, recipe: Recipe, prompt: Prompt, batches: list[BatchId]) -> Findings:
    """Examine ``batches`` under ``recipe``."""
    found = Findings()
    said = {batch.id: batch.members for batch in store.versions.batches()}
    for batch in batches:
        scope = Scope(recipe.id, batch)
        members = store.states.members(scope)
        states = Counter(member.state.state if member.state else State.PENDING for member in members)
        found.examined += len(members)
        left = states[State.PENDING] + sum(member.is_abandoned for member in members)
        if left:
            found.unaccounted.append(f"{batch}: {left} of {counted(len(members), 'member')} not settled")
        if said.get(batch) != len(members):
            found.unaccounted.append(f"{batch}: {counted(len(members), 'member')}, {said.get(batch, 0)} planned")
        rows = store.batch_reports.summaries(scope)
        stored = Counter((row["key"], row["content_hash"]) for row in rows)
        for member in members:
            version = (member.version.key, member.version.content_hash)
            completed = member.state is not None and member.state.state is State.COMPLETED
            if completed and stored[version] != 1:
                how = f"with {stored[version]} summaries" if stored[version] else "without a summary"
                found.without_summary.append(f"{batch}: {version[0]} is completed {how} of its content")
            if not completed and stored[version]:
                found.without_summary.append(f"{batch}: {version[0]} is not completed and has a summary of its content")
        for row in rows:
            try:
                gate(row["text"], None, prompt.text)
            except DegenerateOutputError as error:
                found.unsound.append(f"{batch}: {row['key']}: {error}")
        failed = states[State.FAILED]
        if members and failed / len(members) > ERROR_RATE_LIMIT:
            found.failing.append(f"{batch}: {failed} of {counted(len(members), 'record')} failed")
    return found
