"""The sensor ``alerts``, on a real Dagster instance and a real webhook."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs.automation.alerts_sensor import stored_state
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.settings import Settings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.automation import run
from dobby_dagster_tests.helpers.webhook import Hook, running_hook
from dobby_dagster_tests.helpers.world import Make


@pytest.fixture
def hook() -> Iterator[Hook]:
    with running_hook() as started:
        yield started


class Clock:
    """Ticks of the sensor, 20 s after one another by the process's clock; each after a restart of the code server."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings, self.instance, self.cursor = settings, instance, None
        self._began, self._passed, real = time.time(), 0.0, time.time
        monkeypatch.setattr("time.time", lambda: real() + self._passed)

    def tick(self, times: int = 1) -> str:
        """The message of the last tick."""
        for _ in range(times):
            sensor = build_definitions(self.settings).resolve_sensor_def("alerts")
            result = sensor(dg.build_sensor_context(instance=self.instance, cursor=self.cursor))
            assert isinstance(result, dg.SensorResult)
            self.cursor = result.cursor  # type: ignore[assignment]
            self._passed += 20
        assert isinstance(result.skip_reason, dg.SkipReason)
        return str(result.skip_reason.skip_message)


def summarize(settings: Settings, instance: dg.DagsterInstance, *batches: int) -> dg.ExecuteInProcessResult:
    first, last = batch_id(batches[0]), batch_id(batches[-1])
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    job = build_definitions(settings).resolve_job_def("summarize_batches")
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


@pytest.mark.slow
def test_a_failed_run_is_an_alert_until_a_later_run_has_done_all_its_batches(
    make_settings: Make, store: CozoStore, settings: Settings, instance: dg.DagsterInstance, hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    instance.add_dynamic_partitions("record_batches", [batch_id(i) for i in (1, 2, 3)])
    broken = make_settings(source__relation="nope")
    failed = summarize(broken, instance, 1, 2)
    assert not failed.success
    clock = Clock(make_settings(automation__alert_webhook=hook.url), instance, monkeypatch)
    assert "run" in clock.tick()
    assert hook.got == [], "it is delivered once it is stored"
    clock.tick(3)
    [sent] = hook.got
    assert sent["title"] == f"run {failed.run_id[:8]} of summarize_batches of batch-000001 to batch-000002 failed"
    assert "no relation 'nope'" in sent["text"]
    assert "It is retried automatically where that can help" in sent["text"]
    assert (sent["id"], sent["status"]) == (f"run_failure:{failed.run_id}", "open")
    assert (sent["runs"], sent["batches"]) == ([failed.run_id], [batch_id(1), batch_id(2)])
    assert summarize(settings, instance, 1).success
    clock.tick(6)
    assert len(hook.got) == 1, "batch-000002 is not done yet"
    assert summarize(settings, instance, 2, 3).success
    clock.tick(6)
    assert hook.statuses("run_failure") == ["open", "resolved"]
    assert clock.tick() == "nothing needs attention"


def test_an_alert_says_how_bad_it_is_and_whether_a_person_has_to_act(
    make_settings: Make, instance: dg.DagsterInstance, hook: Hook, sqlite_url: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A damaged database escalates: critical, and no retry helps."""
    settings = make_settings(automation__alert_webhook=hook.url)
    Path(sqlite_url.removeprefix("sqlite:///")).write_text("another program's notes, which are no database")
    instance.add_dynamic_partitions("record_batches", [batch_id(1)])
    assert not summarize(settings, instance, 1).success
    Clock(settings, instance, monkeypatch).tick(2)
    by_kind = {sent["kind"]: sent for sent in hook.got}
    assert {kind: sent["severity"] for kind, sent in by_kind.items()} == {
        "run_failure": "critical", "database": "critical",
    }  # fmt: skip
    assert "No retry can help before a person acts" in by_kind["run_failure"]["text"]
    assert [record.levelname for record in caplog.records if record.name == "dobby.alerts"] == ["CRITICAL"] * 2


def test_a_job_without_batches_is_over_when_it_succeeds(
    make_settings: Make, store: CozoStore, instance: dg.DagsterInstance, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(automation__alert_webhook=hook.url)
    clock = Clock(settings, instance, monkeypatch)
    assert not run("plan_batches", make_settings(source__relation="nope"), instance).success
    clock.tick(2)
    assert run("plan_batches", settings, instance).success
    clock.tick(4)
    assert hook.statuses("run_failure") == ["open", "resolved"]


def test_staleness_and_its_end_are_one_alert_each(
    make_settings: Make, store: CozoStore, instance: dg.DagsterInstance, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    clock = Clock(make_settings(automation__alert_webhook=hook.url), instance, monkeypatch)
    for state in ("PASS", "FAIL", "FAIL", "PASS", "PASS"):
        change = FreshnessStateChange(
            key=dg.AssetKey("record_batches"), previous_state=FreshnessState.UNKNOWN,
            new_state=FreshnessState(state), state_change_timestamp=time.time(),
        )  # fmt: skip
        instance._report_runless_asset_event(change)
        clock.tick(3)
    assert hook.statuses("staleness") == ["open", "resolved"]


@pytest.mark.slow
def test_a_backup_that_fails_or_gets_old_is_an_alert_until_one_is_made(
    make_settings: Make, store: CozoStore, instance: dg.DagsterInstance, hook: Hook, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "backups"
    settings = make_settings(automation__alert_webhook=hook.url, automation__backup_folder=folder)
    clock = Clock(settings, instance, monkeypatch)
    folder.write_text("not a folder")
    assert not run("upkeep", settings, instance).success
    clock.tick(2)
    [failed] = hook.got
    assert failed["kind"] == "backup"
    assert "can't be created" in failed["text"]
    folder.unlink()
    assert run("upkeep", settings, instance).success
    clock.tick(4)
    assert hook.statuses("backup") == ["open", "resolved"]
    clock._passed += 3 * 86_400
    clock.tick(2)
    assert hook.got[-1]["title"] == "the newest backup is 3 days old"
    assert run("upkeep", settings, instance).success
    hook.got.clear()
    clock._passed -= 3 * 86_400
    clock.tick(6)
    assert hook.statuses("backup") == ["resolved"]


def test_a_lost_database_ends_no_other_alert(
    make_settings: Make, store: CozoStore, instance: dg.DagsterInstance, hook: Hook, sqlite_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = make_settings(automation__alert_webhook=hook.url, pipeline__stall_seconds=60)
    clock = Clock(settings, instance, monkeypatch)
    from dobby_dagster.domain.scope import RunId, Scope
    from dobby_dagster.domain.stall import StallKind
    from dobby_dagster_tests.helpers.automation import recipe

    members = store.states.members(Scope(recipe(settings), batch_id(1)))
    store.claims.claim(members, "host/1/1", Scope(recipe(settings), batch_id(1), RunId("stalled-run")))  # type: ignore[arg-type]
    store.stalls.record(RunId("stalled-run"), StallKind.PIPELINE, 700.0)
    clock.tick(2)
    assert hook.statuses("stall") == ["open"]
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    file.rename(tmp_path / "elsewhere")
    clock.tick(10)
    assert hook.statuses("database") == ["open"]
    assert hook.statuses("stall") == ["open"]
    (tmp_path / "elsewhere").rename(file)
    clock.tick(6)
    assert hook.statuses("database") == ["open", "resolved"]
    assert hook.statuses("stall") == ["open"]


def test_no_tick_fails_whatever_the_channels_do(
    make_settings: Make, instance: dg.DagsterInstance, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = make_settings(
        automation__alert_webhook="http://127.0.0.1:9/secret-part-0123",
        automation__alert_command=("/no/such/program",),
        automation__alert_urls=("nosuch://secret-part-0123",),
    )
    clock = Clock(settings, instance, monkeypatch)
    message = clock.tick(3)
    assert "is lost" in message
    assert "webhook failed" in message
    assert "secret-part" not in message + str(clock.cursor)
    assert stored_state(instance).alerts == {}, "the daemon has not run"
