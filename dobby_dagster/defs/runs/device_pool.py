"""The pool of runs that infer: two runs of a host never share a device, and two hosts infer at once."""

from __future__ import annotations

import re

import dagster as dg

from dobby_dagster.defs.runs.crash_recovery import living_runs
from dobby_dagster.domain.host import this_host
from dobby_dagster.domain.settings import Settings
from dobby_dagster.store.cozo_store import CozoStore

# `dagster.yaml` gives each pool one slot, so that one run at a time uses the device.
DEVICE_POOL = "device"


def device_pool(settings: Settings) -> str:
    """The pool of the runs that this host starts: ``dagster.device_pool``, or a name of its own for each host.

    An embedded database belongs to one host, whose pool is ``device``. Hosts that share a database on a server may
    share Dagster's storage too: each has the pool ``device-NAME`` then.

    >>> device_pool(Settings(database={"url": "mem://example"}))
    'device'
    """
    if settings.dagster.device_pool:
        return settings.dagster.device_pool
    if not settings.database.address.is_server:
        return DEVICE_POOL
    return f"{DEVICE_POOL}-{re.sub(r'[^A-Za-z0-9_-]', '-', this_host().name)}"


def device_users(instance: dg.DagsterInstance, store: CozoStore, pool: str) -> list[str]:
    """Active runs that occupy all slots of ``pool``; empty where a slot is free."""
    active = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    users = []
    for run in living_runs(instance, store, active):
        needs = run.run_op_concurrency
        if needs is not None and pool in (needs.all_pools or ()):
            users.append(run.run_id)
    limit = instance.global_op_concurrency_default_limit
    if instance.event_log_storage.supports_global_concurrency_limits:
        limits = {info.name: info.limit for info in instance.event_log_storage.get_pool_limits()}
        limit = limits.get(pool, limit)
    return users if limit is not None and len(users) >= limit else []
