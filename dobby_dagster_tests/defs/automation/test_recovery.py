"""Recovery: what dead processes left behind, and what living ones do."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs.runs.crash_recovery import (
    DIED,
    LAUNCH_SECONDS,
    OWNER_TAG,
    CodeServer,
    dead_runs,
    leaked_slots,
    lost_launches,
    recover,
)
from dobby_dagster.defs.runs.device_pool import DEVICE_POOL, device_users
from dobby_dagster.defs.runs.terminal_runs import Report, backfill
from dobby_dagster.domain.owner import new_owner, owner_of, retire
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import OwnerId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.automation import recipe, run


def dead_owner() -> str:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_of(process.pid)
    process.kill()
    process.wait()
    return owner


def started_run(
    instance: dg.DagsterInstance,
    settings: Settings,
    owner: str | None,
    inherited: bool = False,
    name: str = "recover_from_crash",
    tags: dict[str, str] | None = None,
) -> str:
    job = build_definitions(settings).resolve_job_def(name)
    begun = instance.create_run_for_job(job, tags=tags)
    if owner:
        named = "some-other-run" if inherited else begun.run_id
        instance.add_run_tags(begun.run_id, {OWNER_TAG: f"{named}/{owner}"})
    event = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=job.name)
    instance.report_dagster_event(event, begun.run_id)
    return begun.run_id


def test_what_a_dead_process_started_is_recovered_and_what_a_living_one_does_is_not_touched(
    store: CozoStore, settings: Settings, instance: dg.DagsterInstance
) -> None:
    rid, dead, alive = recipe(settings), dead_owner(), new_owner()
    try:
        for owner, batch in ((dead, batch_id(1)), (alive, batch_id(2))):
            store.claims.claim(store.states.members(Scope(rid, batch))[:3], owner, Scope(rid, batch, "run"))
        died = started_run(instance, settings, dead)
        lives = started_run(instance, settings, alive)
        inherits = started_run(instance, settings, dead, inherited=True)
        elsewhere = started_run(instance, settings, "another-host/1/1.00/token")
        storage = instance.event_log_storage
        storage.set_concurrency_slots("device", 2)
        for run_id in (died, lives):
            assert storage.claim_concurrency_slot("device", run_id, "summaries").is_claimed
        found = recover(instance, store)
        assert (found.runs, found.records, found.slots) == ([died], 3, [died])
        assert str(found) == ("1 run of dead processes closed, 3 records returned to pending, 1 leaked pool slot freed")
        statuses = {r.run_id: r.status for r in instance.get_runs()}
        assert statuses[died] == dg.DagsterRunStatus.FAILURE
        assert {statuses[r] for r in (lives, inherits, elsewhere)} == {dg.DagsterRunStatus.STARTED}
        assert store.states.counts(Scope(rid, batch_id(1)))["pending"] == 5
        assert store.states.counts(Scope(rid, batch_id(2)))["in_progress"] == 3
        assert storage.get_concurrency_info("device").active_run_ids == {lives}
        messages = [log.message for log in instance.all_logs(died)]
        assert any(DIED in message for message in messages)
        assert not recover(instance, store)
    finally:
        retire(alive)


def test_a_run_that_never_said_who_works_on_it_is_dead_after_a_while(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = started_run(instance, settings, None)
    assert dead_runs(instance, store) == []
    now = time.time()
    monkeypatch.setattr("dobby_dagster.defs.runs.crash_recovery.time.time", lambda: now + 700)
    assert [r.run_id for r in dead_runs(instance, store)] == [silent]


def test_a_run_whose_host_died_is_closed_by_another_host(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    owner = OwnerId("two@0b0b0b0b.1/1/1.00/x")
    begun = started_run(instance, settings, owner)
    assert dead_runs(instance, store) == [], "nobody knows"
    store.renewals.renew(owner, 3_600.0)
    assert dead_runs(instance, store) == []
    store.renewals.renew(owner, -1.0)
    assert recover(instance, store).runs == [begun]
    assert instance.get_run_by_id(begun).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]


def test_a_run_that_was_starting_when_its_code_server_was_killed_is_closed(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(settings).resolve_job_def("plan_batches")
    event = dg.DagsterEvent(event_type_value="PIPELINE_STARTING", job_name=job.name)

    def starting(location: str) -> str:
        origin = GrpcServerCodeLocationOrigin(host="localhost", socket="code.sock", location_name=location)
        job_origin = RemoteJobOrigin(RemoteRepositoryOrigin(origin, "repository"), job.name)
        run = instance.create_run_for_job(job, remote_job_origin=job_origin)
        instance.report_dagster_event(event, run.run_id)
        return run.run_id

    lost, _ = starting("dobby"), starting("another location")
    server = CodeServer("dobby", time.time())
    while time.time() - server.since < 1.1:  # the storage keeps whole seconds
        time.sleep(0.1)
    starting("dobby")
    assert not recover(instance, store), "only the code server knows that it is lost"
    assert not recover(instance, store, server), "its process may have outlived the earlier code server"
    assert lost_launches(instance, server, server.since + LAUNCH_SECONDS - 1) == []
    found = lost_launches(instance, server, server.since + LAUNCH_SECONDS + 1)
    assert [run.run_id for run in found] == [lost]


def test_a_run_says_who_works_on_it_and_leaves_no_owner_behind(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    result = run("recover_from_crash", settings, instance)
    assert result.success
    [tags] = [r.tags for r in instance.get_runs()]
    assert tags[OWNER_TAG].startswith(f"{result.run_id}/")
    assert leaked_slots(instance) == []
    assert store.claims.owners() == []
    assert store.connection.run("?[owner] := *dobby_renewal{owner}").rows == []


@pytest.mark.slow
def test_a_run_of_the_terminal_waits_for_the_one_that_uses_the_device(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("record_batches", [batch_id(n) for n in (1, 2, 3)])
    alive = new_owner()
    tags = {"dagster/partition": batch_id(3)}
    try:
        dead = started_run(instance, settings, dead_owner(), name="summarize_batches", tags=tags)
        assert device_users(instance, store, DEVICE_POOL) == [], "a dead run uses nothing"
        started_run(instance, settings, alive)
        assert device_users(instance, store, DEVICE_POOL) == [], "recovery needs no device"
        user = started_run(instance, settings, alive, name="summarize_batches", tags=tags)
        assert device_users(instance, store, DEVICE_POOL) == [user]
        told: SimpleQueue[Report] = SimpleQueue()
        with ThreadPoolExecutor(1) as pool:
            backfilled = pool.submit(backfill, settings, lambda store, left: [batch_id(1)], told.put)
            assert told.get(timeout=60).device_used_by == [user]
            assert not wait([backfilled], 3).done
            assert store.reports.status("record", recipe(settings))["pending"] == 12
            run = instance.get_run_by_id(user)
            assert run is not None
            instance.report_run_failed(run, "it ends")
            assert backfilled.result(timeout=150).failures == []
        assert store.reports.status("record", recipe(settings))["pending"] == 7
        assert instance.get_run_by_id(dead).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    finally:
        retire(alive)
