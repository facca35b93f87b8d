"""The Dagster UI in a real browser: the graph, a plan and one partition materialised by click."""

import os
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from dobby_dagster.domain.scope import NO_RECIPE
from dobby_dagster_tests.helpers.browser import browser, until
from dobby_dagster_tests.helpers.flawed_engine import Faults
from dobby_dagster_tests.helpers.records import prepared
from dobby_dagster_tests.helpers.webserver import dagster_dev

# Where to keep pictures of what the browser showed; the ones in docs/ are made so.
PICTURES = os.environ.get("PICTURES")
GROUPS = {
    "source": ("source_records", "record_batches"),
    "inference": ("pending_records", "summaries", "outlines"),
    "search": ("search_index",),
    "reporting": ("metrics",),
}
__all__ = ["browser"]


def click(browser: webdriver.Chrome, text: str, selector: str = "button") -> None:
    """Click the last thing on top that shows ``text``."""

    def pressed() -> bool:
        for element in reversed(browser.find_elements(By.CSS_SELECTOR, selector)):
            if element.text.strip().startswith(text) and element.is_enabled():
                element.click()
                return True
        return False

    until(pressed, f"a click on {text!r}")


def shows(browser: webdriver.Chrome, *texts: str) -> None:
    for text in texts:
        until(lambda text=text: text in browser.find_element(By.TAG_NAME, "body").text, f"the page showing {text!r}")


def picture(browser: webdriver.Chrome, name: str) -> None:
    if PICTURES:
        time.sleep(2)
        browser.save_screenshot(f"{PICTURES}/{name}.png")


def test_plan_and_materialize_one_partition_by_click(browser: webdriver.Chrome, tmp_path: Path) -> None:
    store = prepared(tmp_path, 60)
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db",
        "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_PIPELINE_BATCH_SIZE": "20",
        "DOBBY_AUTOMATION_ENABLED": "false",
    }
    with dagster_dev(tmp_path, environment) as served:
        url = served.url
        location = f"{url}/locations/dobby"
        browser.get(f"{url}/assets/record_batches")
        click(browser, "Materialize")
        until(lambda: len(store.versions.batches()) == 3, "the plan")
        until(lambda: store.versions.waiting("record") == 0, "the end of the plan")
        browser.get(f"{location}/jobs/summarize_batches")
        click(browser, "Materialize all")
        shows(browser, "Launch runs to materialize 5 assets")
        click(browser, "Select a partition", "div")
        click(browser, "batch-000002", "li, [class*=MenuItem], a, div")
        browser.find_element(By.TAG_NAME, "body").send_keys("\ue00c")
        picture(browser, "launch")
        click(browser, "Launch")

        def done() -> bool:
            status = store.reports.status("record", store.recipes.latest())
            return status["completed"] + status["failed"] == 20

        until(done, "the summaries of one partition", 180)
        until(lambda: store.batch_reports.metrics("batch-000002"), "the metrics of the partition")
        browser.get(f"{url}/assets/summaries?view=partitions&partition=batch-000002")
        shows(browser, "Materialized", "records_per_minute", "confidence_mean", "samples")
        picture(browser, "partition")
        for group, assets in GROUPS.items():
            browser.get(f"{location}/asset-groups/{group}")
            shows(browser, *assets)
        browser.get(f"{location}/asset-groups/inference")
        shows(browser, "3 partitions")
        browser.get(f"{url}/assets/summaries?view=lineage&lineageScope=neighbors&lineageDepth=3")
        shows(browser, *GROUPS, *sum(GROUPS.values(), ()))
        picture(browser, "graph")
    assert [row["batch"] for row in store.batch_reports.metrics()] == ["batch-000002"]
    assert store.reports.status("record", store.recipes.latest())["pending"] == 40


@pytest.mark.timeout(600)
def test_a_failed_backfill_is_read_re_executed_and_checked_by_click(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """A backfill of three partitions, of which one fails; re-execution from failure; a check that fails."""
    store, faults = prepared(tmp_path, 60), Faults(tmp_path)
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db", "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_PIPELINE_BATCH_SIZE": "20", "DOBBY_AUTOMATION_ENABLED": "false", **faults.environment,
    }  # fmt: skip
    broken = [f"f{number}(" for number in range(21, 26)]
    faults.set(*broken)

    def status() -> dict[str, int]:
        return store.reports.status("record", store.recipes.latest())

    with dagster_dev(tmp_path, environment) as served:
        url = served.url
        browser.get(f"{url}/assets/record_batches")
        click(browser, "Materialize")
        until(lambda: len(store.versions.batches()) == 3 and store.versions.waiting("record") == 0, "the plan")
        with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
            until(lambda: len(instance.get_dynamic_partitions("record_batches")) == 3, "the partitions")
            browser.get(f"{url}/locations/dobby/jobs/summarize_batches")
            click(browser, "Materialize all")
            shows(browser, "Launch runs to materialize 5 assets", "0 partitions")
            click(browser, "All", "button, [class*=Tag], div[role=button], span, div")
            shows(browser, "3 partitions")
            picture(browser, "backfill")
            click(browser, "Launch backfill")

            def failed_run() -> Any:
                runs = instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
                return runs[0].run_id if runs else None

            failed = until(failed_run, "the run that fails", 180)
            assert status()["completed"] + status()["failed"] == 60
            retried = [
                row
                for row in store.states.failed("record", store.recipes.latest() or NO_RECIPE)
                if row["retry"] == "retry"
            ]
            assert len(retried) == 5
            assert len(set(faults.asked())) == 60
            browser.get(f"{url}/assets/summaries?view=partitions&partition=batch-000002")
            shows(browser, "Failed (1)", "Materialized (2)", f"Run {failed[:8]} failed")
            picture(browser, "failed-partition")
            browser.get(f"{url}/assets/summaries?view=events&partition=batch-000002")
            shows(browser, "failures", "k0021", "injected fault", "dobby failed list --batch batch-000002")
            picture(browser, "failures")
            browser.get(f"{url}/runs/{failed}")
            shows(browser, "batch-000002: 5 of 20 records failed (25%, limit 10%): k0021, k0022")
            faults.set()
            # Only then does the page ask; the daemon looks at a backfill every half minute.
            until(lambda: instance.get_backfills()[0].status.value.startswith("COMPLETED"), "the backfill's end", 120)
            browser.refresh()
            shows(browser, "batch-000002: 5 of 20 records failed")
            time.sleep(2)
            click(browser, "Re-execute")
            shows(browser, "Re-execution within backfill")
            click(browser, "Confirm")
            until(lambda: len(store.batch_reports.metrics()) == 3, "the run again", 180)
        again = faults.asked()
        assert {word for word in broken if any(word in content for content in again)} == set(broken)
        assert len(set(again)) == 5, "only what failed is inferred again"
        store.connection.run(
            "?[source, key, fingerprint] := *dobby_summary{source, key, fingerprint}, key = 'k0021'"
            " :rm dobby_summary {source, key, fingerprint}",
            write=True,
        )
        browser.get(f"{url}/assets/summaries?view=checks")
        click(browser, "Execute all")
        shows(browser, "batch-000002: k0021 is completed without a summary of its content")
        picture(browser, "check")
        browser.get(f"{url}/automation")
        shows(browser, "new_records", "retry_failed", "recovery", "nightly_upkeep", "metrics_follow", "alerts")
        picture(browser, "automation")
