"""The checks of ``dobby doctor`` that read the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dobby_dagster.cli.finding import Command, Finding
from dobby_dagster.domain.errors import DobbyError, Retry
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import is_quarantined

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore


def database_checks(settings: Settings, command: Command) -> Iterator[Finding]:
    """Whether the database answers, the source exists, the invariants hold, and what failed or waits for a retry."""
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.source.change_tracking import choose

    store = CozoStore.open(settings.database, create=False)
    health = store.health()
    yield Finding(
        "database", True, f"{health.url}: schema {health.schema_version}, answers in {health.seconds * 1000:.1f} ms"
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
    yield from _records(settings, command, store)


def _invariants(command: Command, store: CozoStore) -> Iterator[Finding]:
    """The invariants of the ledger, for every source and recipe."""
    violations = store.audit.examine()
    for violation in violations:
        remedy = command(violation.remedy) if violation.remedy else "restore a backup"
        yield Finding("invariants", False, str(violation), remedy)
    if not violations:
        yield Finding("invariants", True, "all hold")


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
    quarantined = sum(
        is_quarantined(Retry(row["retry"]), row["retry_count"], retries)
        for row in store.states.failed(relation, recipe)
    )
    if quarantined:
        yield Finding(
            "quarantine", True, counted(quarantined, "record"), f"{command('failed list')}, {command('failed release')}"
        )
