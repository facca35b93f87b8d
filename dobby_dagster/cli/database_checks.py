"""The checks of ``dobby doctor`` that read the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dobby_dagster.cli.finding import Command, Finding
from dobby_dagster.domain.errors import DobbyError, Retry, StalledError
from dobby_dagster.domain.owner import host_of, on_this_host, pid_of
from dobby_dagster.domain.plurals import counted, spanned
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import is_quarantined

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.source.source_relation import Source

# Stalls that are older are history.
RECENT_SECONDS = 86_400.0
# Records that are named, at most.
NAMED = 5


def database_checks(settings: Settings, command: Command) -> Iterator[Finding]:
    """Whether the database answers, the source exists, the invariants hold, and what failed or waits for a retry."""
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.source.change_tracking import choose

    store = CozoStore.open(settings.database, create=False)
    health = store.health()
    yield Finding(
        "database",
        True,
        f"{health.url}: schema {health.schema_version}, by {health.driver}, answers in {health.seconds * 1000:.1f} ms",
    )
    try:
        source = store.source(settings.source)
    except DobbyError as error:
        yield Finding("source", False, error.message, error.hint or "")
        return
    backend, reason = choose(source)
    rows = counted(source.count(), "row")
    yield Finding("source", True, f"'{source.settings.relation}': {rows}; change tracking by {backend}: {reason}")
    yield from _invariants(command, store)
    yield from _unindexed(settings, command, store, source)
    yield from _stalls(settings, command, store)
    yield from _records(settings, command, store)
    yield from _contracts(settings, command, store)


def _invariants(command: Command, store: CozoStore) -> Iterator[Finding]:
    """The invariants of the ledger, for every source and recipe."""
    violations = store.audit.examine()
    for violation in violations:
        remedy = command(violation.remedy) if violation.remedy else "restore a backup"
        yield Finding("invariants", False, str(violation), remedy)
    if not violations:
        yield Finding("invariants", True, "all hold")


def _unindexed(settings: Settings, command: Command, store: CozoStore, source: Source) -> Iterator[Finding]:
    """What a search does not find by words or by meaning, and why."""
    from dobby_dagster.search.retrievers import retrievers_for

    for retriever in retrievers_for(store, source, store.recipes.latest(), settings.search):
        if lacking := retriever.behind():
            yield Finding("search", True, lacking, command("search --update"))
        if problem := retriever.problem():
            yield Finding("search", True, problem)


def _stalls(settings: Settings, command: Command, store: CozoStore) -> Iterator[Finding]:
    """Runs that make no progress and were not ended, and those that were ended in the last day."""
    from dobby_dagster.pipeline.monitoring.stalls import stalled_runs

    for run in stalled_runs(store, settings):
        yield Finding(
            "stalled", False,
            f"run {run.run[:8]} of {spanned(run.batches)} has made no progress for {run.seconds:.0f} s",
            f"{_kill_command(run.owner)}, then {command('recover')}",
        )  # fmt: skip
    ended = store.stalls.recent(time.time() - RECENT_SECONDS)
    if ended:
        last = ended[-1]
        was = "1 run was" if len(ended) == 1 else f"{len(ended)} runs were"
        batches = spanned(sorted({batch for stall in ended for batch in stall.batches}))
        yield Finding(
            "stalls", True,
            f"{was} ended in the last day{f', of {batches}' if batches else ''}; the last after "
            f"{last.seconds:.0f} s without a {last.kind.missing}",
        )  # fmt: skip


def _kill_command(owner: str) -> str:
    return f"kill -9 {pid_of(owner)}{'' if on_this_host(owner) else ' on ' + host_of(owner).name}"


def _records(settings: Settings, command: Command, store: CozoStore) -> Iterator[Finding]:
    """Batches and records that failed or wait for a retry."""
    from dobby_dagster.pipeline.planning.retry_policy import retry_candidates

    recipe = store.recipes.latest()
    if recipe is None:
        return
    relation, retries = settings.source.relation, settings.pipeline.max_retries
    left = retry_candidates(store, settings, recipe)
    ended = [candidate.batch for candidate in left if candidate.given_up]
    if ended:
        named = f"{ended[0]}{f' and {len(ended) - 1} more' if len(ended) > 1 else ''}"
        yield Finding(
            "batches", False,
            f"{named}: {counted(retries + 1, 'run')} committed nothing; it is not retried automatically",
            f"see the run's error in the UI; then {command('backfill', ended[0])}",
        )  # fmt: skip
    waiting = len(left) - len(ended)
    if waiting:
        yield Finding(
            "batches", True, f"{counted(waiting, 'batch')} started but not finished; retried automatically",
            command("backfill --failed"),
        )  # fmt: skip
    quarantined = [
        row
        for row in store.states.failed(relation, recipe)
        if is_quarantined(Retry(row["retry"]), row["retry_count"], retries)
    ]
    if quarantined:
        stalled = sorted(row["key"] for row in quarantined if row["error_code"] == StalledError.code)
        named = f"; those that stalled a run: {', '.join(stalled[:NAMED])}{', …' if len(stalled) > NAMED else ''}"
        yield Finding(
            "quarantine", True, counted(len(quarantined), "record") + (named if stalled else ""),
            f"{command('failed list')}, {command('failed release')}",
        )  # fmt: skip


def _contracts(settings: Settings, command: Command, store: CozoStore) -> Iterator[Finding]:
    """Performance contracts that the last batches break; a warning, as their alerts."""
    from dobby_dagster.pipeline.monitoring.contract_results import broken_contracts

    for result in broken_contracts(store, settings):
        remedy = "failed list" if result.contract.measure == "error_rate" else "report"
        yield Finding("contract", True, str(result), command(remedy))
