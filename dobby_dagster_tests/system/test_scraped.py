"""A real Prometheus scrapes a running ``dobby dev``: the series are there, they are right, and the dashboard shows data."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.records import Content
from dobby_dagster_tests.helpers.monitor_client import MonitorClient
from dobby_dagster_tests.helpers.prometheus import DEPLOY, Prometheus, filled, needs_prometheus, promtool, scraping
from dobby_dagster_tests.helpers.records import prepared, put
from dobby_dagster_tests.helpers.webserver import dagster_dev

RECORDS, FAILING = 300, 3


def wait_for(condition: Callable[[], Any], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def dashboard_queries() -> list[str]:
    text = (DEPLOY / "grafana" / "dashboard.json").read_text()
    panels = [panel for panel in json.loads(text)["panels"] if panel["type"] != "row"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@needs_prometheus
def test_a_real_prometheus_scrapes_a_running_system(tmp_path: Path) -> None:
    store = prepared(tmp_path, RECORDS)
    # An echo of digits alone is no summary: the quality gate rejects it.
    broken: dict[str, Content] = {f"broken{n}": " ".join(["0"] * 60) for n in range(FAILING)}
    put(store, broken)
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db", "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_PIPELINE_BATCH_SIZE": "100", "DOBBY_PIPELINE_CHUNK_SIZE": "20", "DOBBY_AUTOMATION_INTERVAL_SECONDS": "2",
        "DOBBY_AUTOMATION_GATHER_SECONDS": "1", "DOBBY_PIPELINE_FAILED_SHARE_LIMIT": "1",
        "MODEL_PATH": SMALL_MODEL, "DOBBY_INFERENCE_SECOND_TRY": "never",
    }  # fmt: skip
    with dagster_dev(tmp_path, environment):
        monitor = MonitorClient.of_home(tmp_path / "home")
        with scraping(monitor.url, tmp_path) as prometheus:
            began = time.time()
            _, page = monitor.get("/metrics")
            promtool("check", "metrics", given=page)

            def settled() -> bool:
                status = store.reports.status("record", store.recipes.latest())
                return status["completed"] + status["failed"] + status["skipped"] == RECORDS + FAILING

            wait_for(settled, "every record is settled", 180)
            wait_for(lambda: store.batch_reports.metrics(), "a batch has metrics", 60)
            time.sleep(15)  # for rates over ten seconds
            _values_are_those_of_the_ledger(prometheus, store)
            seconds = time.time() - began + 1
            empty = [query for query in dashboard_queries() if not prometheus.query_range(filled(query), seconds)]
            assert empty == []
        _, page = monitor.get("/metrics")
        promtool("check", "metrics", given=page)
        assert len(re.findall("^dobby_", page, re.MULTILINE)) < 200


def _values_are_those_of_the_ledger(prometheus: Prometheus, store: Any) -> None:
    status = store.reports.status("record", store.recipes.latest())
    totals = store.totals.read()
    for state in ("completed", "failed", "skipped", "pending", "in_progress"):
        assert prometheus.value(f'dobby_current_records{{state="{state}"}}') == status[state], state
    for state, count in totals["records"].items():
        assert prometheus.value(f'dobby_records_total{{state="{state}"}}') == count
    for kind, count in totals["tokens"].items():
        assert prometheus.value(f'dobby_tokens_total{{kind="{kind}"}}') == count
    assert prometheus.value("dobby_record_duration_seconds_count") == totals["inferred"][""]
    assert prometheus.value('dobby_record_duration_seconds_bucket{le="+Inf"}') == totals["inferred"][""]
    assert prometheus.value("sum(dobby_errors_total)") == sum(totals.get("errors", {}).values())
    assert prometheus.value("dobby_waiting_records") == 0
    assert prometheus.value("dobby_batches") == status["batches"]
    assert prometheus.value("dobby_runs_in_progress") == 0
    assert prometheus.value("dobby_last_commit_timestamp_seconds") == store.activity.last_commit()
    assert prometheus.value('dobby_ready{part="database"}') == 1
    assert prometheus.value('count(dobby_build_info{version!=""})') == 1
    assert prometheus.value('up{job="dobby"}') == 1
