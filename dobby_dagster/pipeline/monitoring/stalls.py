"""Runs that are alive and make no progress, read from the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dobby_dagster.domain.owner import is_alive
from dobby_dagster.domain.scope import BatchId, OwnerId, RecipeId, RunId
from dobby_dagster.domain.settings import Settings
from dobby_dagster.store.cozo_store import CozoStore


@dataclass(frozen=True, slots=True)
class StalledRun:
    """A run whose process is alive, and that has claimed and committed nothing for too long.

    Attributes:
        run: Its identifier.
        recipe: Model, prompt and settings.
        owner: Its process, see :mod:`dobby_dagster.domain.owner`.
        batches: The batches that it has started with, in order.
        last_progress_at: Its last claim or commit, in seconds since the epoch.
        seconds: How long ago that was.
    """

    run: RunId
    recipe: RecipeId
    owner: OwnerId
    batches: Sequence[BatchId]
    last_progress_at: float
    seconds: float


def stalled_runs(store: CozoStore, settings: Settings) -> list[StalledRun]:
    """The runs that have made no progress for ``pipeline.stall_seconds``, the longest stalled first.

    A run's own watchdog ends it then: one that stays listed has lost its watchdog, or is on another host.

    >>> settings = Settings(database={"url": "mem://stalled-runs"})
    >>> stalled_runs(CozoStore.open(settings.database), settings)
    []
    """
    deadline, now = settings.pipeline.stall_seconds, time.time()
    if not deadline:
        return []
    progress = store.stalls.progress()
    renewals = store.renewals.of({seen.owner for seen in progress})
    found = [
        StalledRun(seen.run, seen.recipe, seen.owner, seen.batches, seen.at, now - seen.at)
        for seen in progress
        if now - seen.at > deadline and is_alive(seen.owner, seen.at, renewals.get(seen.owner))
    ]
    return sorted(found, key=lambda run: run.last_progress_at)
