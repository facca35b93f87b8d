"""Alerts of a running ``dobby dev``: a database that is lost, a webhook that is down, and a restart in between."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dobby_dagster.defs.automation.alerts_sensor import stored_state
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.webhook import PATH, running_hook
from dobby_dagster_tests.helpers.webserver import dagster_dev, free_port


def wait(condition: Callable[[], object], what: str, folder: Path, seconds: float = 180) -> float:
    """Until ``condition`` holds; how long that was."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"{what} did not happen: {(folder / 'dev.log').read_text()[-3_000:]}")
        time.sleep(0.2)
    print(f"{what}: {time.monotonic() - began:.0f} s")
    return time.monotonic() - began


def of_database(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was sent about the database."""
    return [one for one in sent if one["kind"] == "database"]


@pytest.mark.timeout(900)
def test_a_lost_database_is_told_once_and_its_end_once_though_the_webhook_is_down_meanwhile(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "records.db"
    url = f"sqlite:///{file}"
    CozoStore.open(DatabaseSettings(url=url)).close()
    environment = {
        "DATABASE_URL": url, "DAGSTER_HOME": str(tmp_path / "home"), "DOBBY_AUTOMATION_INTERVAL_SECONDS": "2",
        "DOBBY_AUTOMATION_ALERT_WEBHOOK": f"http://127.0.0.1:{port}{PATH}",
    }  # fmt: skip
    with (
        dagster_dev(tmp_path, environment) as served,
        dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance,
    ):

        def ticks() -> list[object]:
            found = [state for state in instance.all_instigator_state() if state.name == "alerts"]
            return [t for state in found for t in instance.get_ticks(state.instigator_origin_id, state.selector_id)]

        wait(ticks, "a tick", tmp_path)
        with running_hook(port) as hook:
            file.rename(tmp_path / "elsewhere")
            seconds = wait(lambda: hook.statuses("database"), "the alert", tmp_path)
            print(f"a lost database was told after {seconds:.0f} s")
            # A run that found no database may have failed, which is an alert of its own.
            [sent] = of_database(hook.got)
            assert (sent["kind"], sent["status"], sent["severity"]) == ("database", "open", "critical")
            assert sent["remedy"].endswith(f"doctor --database {url}")
        (tmp_path / "elsewhere").rename(file)
        wait(lambda: "webhook" in stored_state(instance).outbox.outages, "the failed delivery", tmp_path)
        [waiting] = [one for one in stored_state(instance).outbox.undelivered if one.notification.kind == "database"]
        assert (waiting.notification.status, waiting.channels) == ("resolved", ["webhook"])
        served.kill(served.processes())
        with running_hook(port) as hook:
            served.start()
            wait(lambda: hook.statuses("database") == ["resolved"], "the end, once the webhook is up", tmp_path)
            assert of_database(hook.got)[0]["at"] == waiting.notification.at, "the age is kept"
            count = len(ticks())
            wait(lambda: len(ticks()) >= count + 1, "one more tick", tmp_path)
            assert hook.statuses("database") == ["resolved"]
        assert PATH not in (tmp_path / "dev.log").read_text()
        assert [tick.error for tick in ticks() if tick.error] == []  # type: ignore[attr-defined]
        took = [t.end_timestamp - t.timestamp for t in ticks() if t.end_timestamp]  # type: ignore[attr-defined]
        print(f"{len(took)} ticks, of {sum(took) / len(took):.2f} s on the average")
