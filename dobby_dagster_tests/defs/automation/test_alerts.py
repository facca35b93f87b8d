"""Alerts: into the log, to a webhook, to a command."""

import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest

from dobby_dagster.definitions import build_definitions
from dobby_dagster.domain.errors import (
    SettingsError,
)  # fmt: skip
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.settings import AutomationSettings
from dobby_dagster.pipeline.reporting.alerts import Alert, AlertError, deliver
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.world import Make


class Webhook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent; answers as it was told."""

    got: ClassVar[list[Any]] = []
    answers: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, json.loads(body)))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Webhook)
    Webhook.got, Webhook.answers = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/secret-part"
    server.shutdown()
    server.server_close()


def test_an_alert_goes_to_the_log_the_webhook_and_the_command(
    webhook: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "alert.json"
    command = (sys.executable, "-c", f"import sys, pathlib; pathlib.Path({str(out)!r}).write_text(sys.stdin.read())")
    settings = AutomationSettings(alert_webhook=webhook, alert_command=command)
    alert = Alert("run_failure", "A title; $(touch x)", "What happened", run="run-1", batches=("batch-000001",))
    deliver(alert, settings)
    [(path, sent)] = Webhook.got
    assert path == "/hooks/secret-part"
    assert sent == json.loads(out.read_text())
    assert (sent["kind"], sent["title"], sent["batches"]) == ("run_failure", "A title; $(touch x)", ["batch-000001"])
    assert "A title" in caplog.text
    assert "secret-part" not in caplog.text


def test_an_alert_that_can_not_be_delivered_is_an_error_without_the_secret(webhook: str) -> None:
    Webhook.answers = [500]
    alert = Alert("freshness", "title", "text")
    with pytest.raises(AlertError, match=r"webhook at 127.0.0.1 answered 500") as caught:
        deliver(alert, AutomationSettings(alert_webhook=webhook))
    assert "secret" not in str(caught.value)
    with pytest.raises(AlertError, match="can't be reached"):
        deliver(alert, AutomationSettings(alert_webhook="http://127.0.0.1:9/secret"))
    with pytest.raises(AlertError, match=r"ended with 3: no"):
        deliver(
            alert,
            AutomationSettings(
                alert_command=(
                    sys.executable,
                    "-c",
                    "import sys; sys.exit('no') if 0 else (sys.stderr.write('no'), sys.exit(3))",
                )
            ),
        )
    with pytest.raises(AlertError, match="can't be run"):
        deliver(alert, AutomationSettings(alert_command=("/no/such/program",)))


def test_the_webhook_is_a_secret_and_must_be_a_url(make_settings: Make) -> None:
    from dobby_dagster.domain.settings_loader import load_settings

    with pytest.raises(SettingsError, match=r"automation.alert_webhook = \*\*\* is invalid: must be an http") as caught:
        make_settings(automation__alert_webhook="hooks.example/secret-part")
    assert "secret-part" not in str(caught.value)
    loaded = load_settings({"automation.alert_webhook": "https://hooks.example/secret-part"}, environment={})
    assert not any("secret-part" in value for _, value, _, _ in loaded.rows())


def test_a_failed_run_is_an_alert_with_its_batches_and_its_reason(
    make_settings: Make, instance: dg.DagsterInstance, webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(automation__alert_webhook=webhook, source__relation="nope")
    CozoStore.open(settings.database)
    instance.add_dynamic_partitions("record_batches", [batch_id(1)])
    definitions = build_definitions(settings)
    job = definitions.resolve_job_def("summarize_batches")
    tags = {"dagster/asset_partition_range_start": batch_id(1), "dagster/asset_partition_range_end": batch_id(1)}
    result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    assert not result.success
    sensor = definitions.resolve_sensor_def("run_failures")
    record = instance.get_run_record_by_id(result.run_id)
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failures", dagster_instance=instance, dagster_run=record.dagster_run if record else None,  # type: ignore[arg-type]
        dagster_event=next(e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE"),
    ).for_run_failure()  # fmt: skip
    sensor(context)
    [(_, sent)] = Webhook.got
    assert (
        sent["title"] == f"Dobby: run {result.run_id[:8]} of summarize_batches of batch-000001 to batch-000001 failed"
    )
    assert "no relation 'nope'" in sent["text"]
    assert sent["run"] == result.run_id


def test_an_alert_says_how_bad_it_is_and_whether_a_person_has_to_act(
    make_settings: Make, instance: dg.DagsterInstance, webhook: str, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged database escalates: critical, and no retry helps."""
    settings = make_settings(automation__alert_webhook=webhook)
    Path(sqlite_url.removeprefix("sqlite:///")).write_text("another program's notes, which are no database")
    instance.add_dynamic_partitions("record_batches", [batch_id(1)])
    definitions = build_definitions(settings)
    tags = {"dagster/asset_partition_range_start": batch_id(1), "dagster/asset_partition_range_end": batch_id(1)}
    job = definitions.resolve_job_def("summarize_batches")
    result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    assert not result.success
    record = instance.get_run_record_by_id(result.run_id)
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failures", dagster_instance=instance, dagster_run=record.dagster_run if record else None,  # type: ignore[arg-type]
        dagster_event=next(e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE"),
    ).for_run_failure()  # fmt: skip
    definitions.resolve_sensor_def("run_failures")(context)
    [(_, sent)] = Webhook.got
    assert sent["severity"] == "critical"
    assert "No retry can help before a person acts" in sent["text"]
    assert [record.levelname for record in caplog.records if record.name == "dobby.alerts"] == ["CRITICAL"]


def test_staleness_and_its_end_are_one_alert_each(
    make_settings: Make, instance: dg.DagsterInstance, webhook: str
) -> None:
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    settings = make_settings(automation__alert_webhook=webhook)
    sensor = build_definitions(settings).resolve_sensor_def("staleness")
    cursor: str | None = None
    for state in ("PASS", "FAIL", "FAIL", "PASS", "PASS"):
        change = FreshnessStateChange(
            key=dg.AssetKey("record_batches"), previous_state=FreshnessState.UNKNOWN,
            new_state=FreshnessState(state), state_change_timestamp=time.time(),
        )  # fmt: skip
        instance._report_runless_asset_event(change)
        result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
    assert [sent["title"] for _, sent in Webhook.got] == [
        "Dobby: the source is not polled", "Dobby: the source is polled again",
    ]  # fmt: skip
