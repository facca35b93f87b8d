"""The conditions that the database, its ledger and the disks show: all that need no Dagster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dobby_dagster.domain.errors import Severity, StoreBusyError, StoreError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.domain.scope import RecipeId, RunId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.pipeline.monitoring.conditions import Check, Condition, Kind
from dobby_dagster.pipeline.monitoring.confidence_drift import FEWEST, SAMPLE, drift_of_pairs, drift_of_samples
from dobby_dagster.pipeline.monitoring.contract_results import broken_contracts
from dobby_dagster.pipeline.monitoring.disk_space import free_spaces
from dobby_dagster.pipeline.monitoring.remedy_command import remedy_command
from dobby_dagster.pipeline.monitoring.stalls import stalled_runs
from dobby_dagster.store.cozo_store import CozoStore

# How long the checks wait for the database: all of them have the minute that Dagster gives a sensor.
LEASE_SECONDS, TIMEOUT_SECONDS = 5.0, 10.0
# A database that another process has locked is lost only after this time: a check or a backup takes minutes.
LOCKED_SECONDS = 300.0
# A stalled run whose batches make no progress afterwards is an alert for this long.
STALL_DAYS = 7


def stored_checks(settings: Settings, home: Path) -> list[Check]:
    """The checks; the database is opened by the first that needs it.

    Args:
        settings: The settings in use.
        home: DAGSTER_HOME.
    """
    database = _Database(settings)
    return [
        Check(Kind.DISK, partial(_disks, settings, home)),
        Check(Kind.DATABASE, database.problems),
        Check(Kind.STALL, lambda: _stalls(settings, database.store, home)),
        Check(Kind.CONTRACT, lambda: _contracts(settings, database.store)),
        Check(Kind.QUARANTINE, lambda: _quarantine(settings, database.store), database.version),
        Check(Kind.CONFIDENCE, lambda: _confidence(settings, database.store), database.version),
    ]


@dataclass
class _Database:
    """Opened once; an error is remembered, so that only one check waits for it."""

    settings: Settings
    _opened: CozoStore | None = field(default=None, init=False)
    _error: StoreError | None = field(default=None, init=False)

    @property
    def store(self) -> CozoStore:
        """The open store.

        Raises:
            StoreError: It can't be used.
        """
        if self._error is not None:
            raise self._error
        if self._opened is None:
            given = self.settings.database
            limits = {
                "lease_timeout_seconds": min(LEASE_SECONDS, given.lease_timeout_seconds),
                "timeout_seconds": min(TIMEOUT_SECONDS, given.timeout_seconds),
            }
            try:
                opened = CozoStore.open(given.model_copy(update=limits), create=False)
                opened.health()
            except StoreError as error:
                self._error = error
                raise
            self._opened = opened
        return self._opened

    def version(self) -> object:
        """Changes with every state of a record, and with the recipe in use."""
        return self.store.counts.moment(), self.store.recipes.latest()

    def problems(self) -> Iterator[Condition]:
        """Why the database can't be used, if so."""
        try:
            _ = self.store
        except StoreError as error:
            locked = isinstance(error, StoreBusyError)
            url = self.settings.database.url
            yield Condition(
                Kind.DATABASE,
                url,
                f"the database {url} {'is locked' if locked else 'is lost'}",
                f"{error}. Nothing is summarised until it can be used again. "
                "If it is gone, dobby restore restores a backup.",
                Severity.CRITICAL,
                remedy_command(self.settings, "doctor"),
                after_seconds=LOCKED_SECONDS if locked else 0.0,
            )


def _disks(settings: Settings, home: Path) -> Iterator[Condition]:
    for space in free_spaces(settings, home):
        if space.is_low:
            yield Condition(
                Kind.DISK,
                str(space.folder),
                f"the disk of {space.folder} is nearly full: {space.free / 1e9:.2f} GB free",
                "A full disk stops every write. Free some space; automation.alert_disk_bytes is the limit.",
                remedy=f"df -h {shell_word(str(space.folder))}",
            )


def _stalls(settings: Settings, store: CozoStore, home: Path) -> Iterator[Condition]:
    remedy = remedy_command(settings, "doctor", home=home)
    for run in stalled_runs(store, settings):
        yield Condition(
            Kind.STALL,
            run.run,
            f"run {run.run[:8]} has made no progress for {run.seconds:.0f} s",
            "Its process is alive, and is ended automatically; if it stays, end it by hand.",
            Severity.ERROR,
            remedy,
            tuple(run.batches),
            (run.run,),
        )
    for stall in store.stalls.recent(time.time() - STALL_DAYS * 86_400):
        if not any(_committed_after(store, Scope(stall.recipe, batch, RunId("")), stall.at) for batch in stall.batches):
            keys = f"; in progress: {', '.join(stall.keys[:5])}" if stall.keys else ""
            yield Condition(
                Kind.STALL,
                stall.run,
                f"run {stall.run[:8]} was ended: no {stall.kind.missing} for {stall.seconds:.0f} s",
                f"Its records are tried again automatically; one that stalls every run is quarantined{keys}.",
                Severity.ERROR,
                remedy,
                tuple(stall.batches),
                (stall.run,),
            )


def _committed_after(store: CozoStore, scope: Scope, at: float) -> bool:
    return any(chunk["finished_at"] > at for chunk in store.batch_reports.chunks(scope))


def _contracts(settings: Settings, store: CozoStore) -> Iterator[Condition]:
    for result in broken_contracts(store, settings):
        yield Condition(
            Kind.CONTRACT,
            f"{result.contract.name}, {result.group}",
            str(result),
            f"{result.contract.meaning}; the median of the last batches. The limit can be set in [contracts].",
            Severity.WARNING,
            remedy_command(settings, "doctor"),
            result.batches,
        )


def _quarantine(settings: Settings, store: CozoStore) -> Iterator[Condition]:
    recipe, relation = store.recipes.latest(), settings.source.relation
    if recipe is None:
        return
    batches = store.states.quarantined(relation, recipe, settings.pipeline.max_retries)
    records = sum(batches.values())
    if records:
        yield Condition(
            Kind.QUARANTINE,
            relation,
            f"{counted(records, 'record')} of '{relation}' in quarantine",
            "They are not tried again until they are released, with dobby failed release. "
            "This is sent again when more follow.",
            Severity.WARNING,
            remedy_command(settings, "failed list"),
            tuple(sorted(batches)),
            level=records,
        )


def _confidence(settings: Settings, store: CozoStore) -> Iterator[Condition]:
    limit, relation = settings.automation.alert_confidence_fall, settings.source.relation
    used = store.recipes.all()[:2]
    if not limit or len(used) < 2:
        return
    now, before = (RecipeId(recipe["recipe"]) for recipe in used)
    pairs = store.reports.confidence_pairs(relation, before, now, SAMPLE)
    if len(pairs) >= FEWEST:
        found = drift_of_pairs(pairs, limit)
    else:
        samples = {recipe: store.reports.confidences(relation, recipe, SAMPLE) for recipe in (before, now)}
        found = drift_of_samples(samples[before], samples[now], limit)
    if found is not None:
        yield Condition(
            Kind.CONFIDENCE,
            f"{before}-{now}",
            f"the mean confidence fell from {found.before:.2f} to {found.now:.2f} with the change of model or prompt",
            f"Compared are the first {SAMPLE} summaries by {used[0]['model']} with {used[0]['prompt']} and those by "
            f"{used[1]['model']} with {used[1]['prompt']}, of the same contents where there are enough. "
            "It is over when another model or prompt is in use.",
            Severity.WARNING,
            remedy_command(settings, "export --unsure"),
        )
