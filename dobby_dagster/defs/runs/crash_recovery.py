"""Recovery after a crash: dead runs are closed, their records return to pending, their pool slots are freed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from dobby_dagster.domain.owner import Renewal, is_alive, new_owner, on_this_host, retire
from dobby_dagster.domain.plurals import counted

if TYPE_CHECKING:
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.ledger.claims import Ownership

OWNER_TAG = "dobby/owner"
# A run names its owner within seconds of its start. One that has none after this time died before.
OWNER_TIMEOUT_SECONDS = 600.0
# A run whose process outlives the code server that launched it says within this time that it has started.
LAUNCH_SECONDS = 45.0
LOST = "The code server that launched the run died before its process had started."
DIED = "The process of the run died. What it committed is kept; what it had started returns to pending."


@dataclass
class Recovered:
    """What was cleaned up.

    Attributes:
        runs: Identifiers of the dead runs that were closed.
        records: Records that returned to pending.
        slots: Runs that had ended and still held a pool slot, which was freed.
        repaired: Records that violated an invariant, see :mod:`dobby_dagster.store.maintenance.ledger_audit`.
    """

    runs: list[str] = field(default_factory=list)
    records: int = 0
    slots: list[str] = field(default_factory=list)
    repaired: int = 0

    def __bool__(self) -> bool:
        return bool(self.runs or self.records or self.slots or self.repaired)

    def __str__(self) -> str:
        repaired = f", {counted(self.repaired, 'record')} repaired" if self.repaired else ""
        return (
            f"{counted(len(self.runs), 'run')} of dead processes closed, "
            f"{counted(self.records, 'record')} returned to pending, "
            f"{counted(len(self.slots), 'leaked pool slot')} freed{repaired}"
        )


@contextmanager
def owning(
    instance: dg.DagsterInstance, run_id: str, database: DatabaseSettings, claim_seconds: float
) -> Iterator[None]:
    """Name this process as the owner of the run while the block runs, so that its death can be detected.

    Args:
        instance: Gets the owner as a tag of the run.
        run_id: The run.
        database: Where the owner says that it works, for other hosts.
        claim_seconds: How long that is valid.
    """
    from dobby_dagster.pipeline.summarization.claim_renewal import ClaimRenewal
    from dobby_dagster.store.database.connect import connect
    from dobby_dagster.store.ledger.renewals import Renewals

    owner = new_owner()
    # A connection of its own: this one must never wait for the run's, nor create a database.
    renewals = Renewals(connect(database, create=False))
    try:
        # A re-execution inherits the tags of its run: the identifier in the tag tells them apart.
        instance.add_run_tags(run_id, {OWNER_TAG: f"{run_id}/{owner}"})
        with ClaimRenewal(renewals, owner, claim_seconds):
            yield
    finally:
        retire(owner)


def dead_runs(instance: dg.DagsterInstance, store: CozoStore) -> list[dg.DagsterRun]:
    """Runs that are recorded as started, and whose process is dead."""
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    return [run for run, is_dead in _runs(instance, store, started) if is_dead]


def living_runs(instance: dg.DagsterInstance, store: CozoStore, chosen: dg.RunsFilter) -> list[dg.DagsterRun]:
    """The runs that ``chosen`` selects, all whose process is not known to be dead."""
    return [run for run, is_dead in _runs(instance, store, chosen) if not is_dead]


def _runs(
    instance: dg.DagsterInstance, store: CozoStore, chosen: dg.RunsFilter
) -> Iterator[tuple[dg.DagsterRun, bool]]:
    """Each run that ``chosen`` selects, with whether its process is dead."""
    records = instance.get_run_records(filters=chosen)
    renewals = store.renewals.of({_named_owner(record.dagster_run) for record in records})
    for record in records:
        yield record.dagster_run, _is_dead(record, renewals)


@dataclass(frozen=True)
class CodeServer:
    """The only code server of a code location, by its name, and since when it runs, in seconds since the epoch."""

    location: str
    since: float


def lost_launches(instance: dg.DagsterInstance, server: CodeServer, now: float) -> list[dg.DagsterRun]:
    """Runs whose launch was requested before their code server started, and that have not started since.

    Dagster notices it after ``start_timeout_seconds``, and until then the run holds the device. Its default launcher
    makes a run a process of the code server; with another one this is left to Dagster.

    Args:
        instance: Where the runs are.
        server: The code server of the runs.
        now: Seconds since the epoch.
    """
    if now - server.since < LAUNCH_SECONDS or not isinstance(instance.run_launcher, DefaultRunLauncher):
        return []
    starting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])
    records = instance.get_run_records(filters=starting)
    earlier = [record.dagster_run for record in records if record.update_timestamp.timestamp() < server.since]
    return [run for run in earlier if run.remote_job_origin and run.remote_job_origin.location_name == server.location]


def recover(instance: dg.DagsterInstance, store: CozoStore, server: CodeServer | None = None) -> Recovered:
    """Clean up after dead processes; what a live process owns is not touched.

    Dagster retries a run of the daemon that is closed here. It tries once, at that moment, and needs the code server:
    so a sensor is the best place to close them.

    Args:
        instance: Where the runs are.
        store: Where their records are.
        server: The code server, if this is its process; see :func:`lost_launches`.
    """
    found = Recovered()
    if server is not None:
        for run in lost_launches(instance, server, time.time()):
            instance.report_run_failed(run, LOST)
            found.runs.append(run.run_id)
    for run in dead_runs(instance, store):
        instance.report_run_failed(run, DIED)
        found.runs.append(run.run_id)
    for owner in abandoned_owners(store):
        found.records += store.claims.release_abandoned(owner)
    store.renewals.forget()
    for run_id in leaked_slots(instance):
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        found.slots.append(run_id)
    return found


def repair(instance: dg.DagsterInstance, store: CozoStore) -> Recovered:
    """Call :func:`recover`, then audit and repair the whole ledger; too slow for a sensor."""
    found = recover(instance, store)
    found.repaired = store.audit.repair()
    return found


def abandoned_owners(store: CozoStore) -> list[Ownership]:
    """Owners of records in progress whose process is dead."""
    return [owner for owner in store.claims.owners() if not owner.is_alive]


def leaked_slots(instance: dg.DagsterInstance) -> list[str]:
    """Runs that have ended or been deleted, and still hold or await a pool slot."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return []
    leaked = set()
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in {*info.active_run_ids, *info.pending_run_ids, *info.assigned_run_ids}:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                leaked.add(run_id)
    return sorted(leaked)


def _named_owner(run: dg.DagsterRun) -> str:
    """The owner that the run named; empty if it has not done so yet: a re-execution has the tags of its run."""
    run_id, _, owner = run.tags.get(OWNER_TAG, "").partition("/")
    return owner if run_id == run.run_id else ""


def _is_dead(record: dg.RunRecord, renewals: Mapping[str, Renewal]) -> bool:
    owner, started = _named_owner(record.dagster_run), record.start_time or time.time()
    if not owner:
        return time.time() - started > OWNER_TIMEOUT_SECONDS
    renewal = renewals.get(owner)
    # A process of another host that never renewed a claim can't be judged: Dagster ends it when it is too old.
    return (renewal is not None or on_this_host(owner)) and not is_alive(owner, started, renewal)
