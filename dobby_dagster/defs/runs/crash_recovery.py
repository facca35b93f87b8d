"""After a crash: runs whose process died are closed, records they had begun return to pending, slots come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from dobby_dagster.domain.owner import is_alive, new_owner, on_this_host, retire
from dobby_dagster.domain.plurals import counted

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.ledger.record_states import Ownership

# One run at a time uses the device: `dagster.yaml` gives this pool one slot.
DEVICE_POOL = "device"
OWNER_TAG = "dobby/owner"
# A run says who works on it within seconds of its start. One that has not said so for so long has died before.
SILENCE_SECONDS = 600.0
DIED = "The process that ran it died. What it committed is kept; what it had begun returns to pending."


@dataclass
class Recovered:
    """What was found and mended.

    Attributes:
        runs: Identifiers of runs whose process had died.
        records: Records that returned to pending.
        slots: Runs that had ended and still held a slot of a pool.
        repaired: Records for which an invariant did not hold; see :mod:`dobby_dagster.store.maintenance.ledger_audit`.
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
def owning(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Let it be known that this process works on the run, so that its death can be noticed."""
    owner = new_owner()
    try:
        # Runs that are made from a run inherit its tags: the run's own identifier tells them apart.
        instance.add_run_tags(run_id, {OWNER_TAG: f"{run_id}/{owner}"})
        yield
    finally:
        retire(owner)


def dead_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs that count as started and that no process works on any more."""
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    return [record.dagster_run for record in instance.get_run_records(filters=started) if _is_dead(record)]


def recover(instance: dg.DagsterInstance, store: CozoStore) -> Recovered:
    """Mend what dead processes left behind; what a living one works on is not touched.

    A run that is closed so is started again by Dagster's run retries, where it was the daemon's. They try to start it
    once, at that moment, and need the code server for it: so the daemon's runs are best closed by a sensor.
    """
    found = Recovered()
    for run in dead_runs(instance):
        instance.report_run_failed(run, DIED)
        found.runs.append(run.run_id)
    for owner in abandoned_owners(store):
        found.records += store.states.release(owner.owner, owner.scope)
    for run_id in leaked_slots(instance):
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        found.slots.append(run_id)
    return found


def repair(instance: dg.DagsterInstance, store: CozoStore) -> Recovered:
    """As :func:`recover`, and examine the whole ledger and repair it: for a person who asks, not for every minute."""
    found = recover(instance, store)
    found.repaired = store.audit.repair()
    return found


def abandoned_owners(store: CozoStore) -> list[Ownership]:
    """Who began records, and died."""
    return [owner for owner in store.states.owners() if not is_alive(owner.owner, owner.since)]


def device_users(instance: dg.DagsterInstance) -> list[str]:
    """Runs under way that need the device, where they are as many as it bears; none where there is room."""
    begun = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    users = []
    for record in instance.get_run_records(filters=begun):
        needs = record.dagster_run.run_op_concurrency
        if needs is not None and DEVICE_POOL in (needs.all_pools or ()) and not _is_dead(record):
            users.append(record.dagster_run.run_id)
    limit = instance.global_op_concurrency_default_limit
    if instance.event_log_storage.supports_global_concurrency_limits:
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        limit = limits.get(DEVICE_POOL, limit)
    return users if limit is not None and len(users) >= limit else []


def leaked_slots(instance: dg.DagsterInstance) -> list[str]:
    """Runs that have ended, or are not there, and still hold or await a slot of a pool."""
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


def _is_dead(record: dg.RunRecord) -> bool:
    run, began = record.dagster_run, record.start_time or time.time()
    run_id, _, owner = run.tags.get(OWNER_TAG, "").partition("/")
    if run_id == run.run_id:
        return on_this_host(owner) and not is_alive(owner, began)
    return time.time() - began > SILENCE_SECONDS
