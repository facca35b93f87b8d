"""A whole system of processes, left alone: rows come in, things are killed, and every record gets its summary.

``ROUNDS=5 ROWS=10000 pytest test_unattended.py`` does more of each than an everyday run.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from pycozo.client import Client

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.inference.prompts import chosen_prompt
from dobby_dagster.inference.recipe import recipe_of
from dobby_dagster.pipeline.reporting.invariants import examine
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client
from dobby_dagster_tests.helpers.flawed_engine import Faults
from dobby_dagster_tests.helpers.webserver import Served, dagster_dev

ROUNDS = int(os.environ.get("ROUNDS", "1"))
ROWS = int(os.environ.get("ROWS", "300"))
GIBIBYTE = 1024**3


def content(number: int) -> str:
    return f"def f{number}(a, b):\n    c = a * {number}\n    return b + c\n"


class System:
    """A running ``dobby dev`` on a database of its own, and what became of the rows in it."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.url = f"sqlite:///{folder}/records.db"
        self.faults = Faults(folder)
        self.environment = {
            "DATABASE_URL": self.url, "DAGSTER_HOME": str(folder / "home"), "DOBBY_PIPELINE_BATCH_SIZE": "50",
            "DOBBY_PIPELINE_CHUNK_SIZE": "10", "DOBBY_AUTOMATION_INTERVAL_SECONDS": "2",
            "DOBBY_AUTOMATION_GATHER_SECONDS": "3", "DOBBY_AUTOMATION_RETRY_SECONDS": "1",
            "DOBBY_DAGSTER_PARTITIONS_PER_RUN": "4", "DOBBY_INFERENCE_MAX_NEW_TOKENS": "12",
            "DOBBY_PIPELINE_FAILED_SHARE_LIMIT": "0.5", **self.faults.environment,
            **{f"DOBBY_{name.upper()}": str(value) for name, value in settings.items()},
        }  # fmt: skip
        self.store = CozoStore.open(DatabaseSettings(url=self.url))
        self.home, self.folder, self.written = folder / "home", folder, 0

    def write(self, count: int) -> None:
        """New rows, by a client inside the lease."""
        rows = [[f"k{i:05d}", content(i)] for i in range(self.written, self.written + count)]
        with cozo_client(self.url) as db:
            db.run("?[key, content] <- $rows :put record {key => content}", {"rows": rows})
        self.written += count

    @property
    def status(self) -> dict[str, int]:
        return self.store.reports.status("record", self.store.recipes.latest())

    @property
    def settled(self) -> int:
        status = self.status
        return status["completed"] + status["failed"] + status["skipped"]

    def wait(self, condition: Callable[[], Any], what: str, seconds: float) -> float:
        """Until ``condition`` holds; how long that was."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                log = (self.folder / "dev.log").read_text()[-3_000:]
                raise AssertionError(f"{what} did not happen in {seconds:.0f} s: {self.status}\n{log}")
            time.sleep(0.5)
        return time.monotonic() - began

    def wait_until_settled(self, seconds: float) -> float:
        """Until every row that was written is settled."""
        return self.wait(lambda: self.settled == self.written, "the end", seconds)

    def examine(self) -> None:
        """The invariants, and that nothing was done twice or is left over."""
        arguments = {"inference.max_new_tokens": 12}
        settings = load_settings(arguments).settings
        prompt = chosen_prompt(settings.prompt)
        recipe = recipe_of(settings.model, settings.inference, prompt)
        assert self.store.recipes.latest() == recipe.id
        found = examine(self.store, recipe, prompt, [batch.id for batch in self.store.versions.batches()])
        assert (found.unaccounted, found.degenerate, found.mismatched) == ([], [], [])
        status = self.status
        assert status["records"] == self.written
        assert status["summaries"] == status["completed"]
        assert (status["pending"], status["in_progress"]) == (0, 0)
        members = self.store.connection.run("?[count(key)] := *dobby_member{batch, position, key}").rows[0][0]
        assert members == self.written, "every version is in one batch"

    def ticks(self, instance: dg.DagsterInstance, name: str) -> list[Any]:
        """The latest ticks of a sensor, newest first."""
        [state] = [s for s in instance.all_instigator_state() if s.name == name]
        return list(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1_000))


@pytest.fixture
def system(tmp_path: Path) -> Iterator[tuple[System, Served]]:
    made = System(tmp_path)
    with dagster_dev(tmp_path, made.environment) as served:
        yield made, served


@pytest.mark.timeout(3_600)
def test_rows_by_a_plain_client_become_summaries_unattended(system: tuple[System, Served]) -> None:
    world, served = system
    client = Client("sqlite", str(world.folder / "records.db"), dataframe=False)
    began = time.time()
    for attempt in range(100):
        try:
            client.run("?[key, content] <- $rows :put record {key => content}", {"rows": [["plain", content(7)]]})
            break
        except Exception:  # a plain client knows no lease, and may find the database locked
            time.sleep(0.05 * attempt)
    client.close()
    world.written = 1
    world.wait(lambda: world.status["records"] == 1, "the row being noticed", 60)
    world.wait_until_settled(120)
    [summary] = world.store.reports.summaries_of("record", "plain") or [{"created_at": time.time()}]
    print(f"from row to summary: {summary['created_at'] - began:.1f} s")
    world.write(ROWS)
    peak = 0

    def done() -> bool:
        nonlocal peak
        used = 0
        for process in served.processes():
            try:
                used += process.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, used)
        return world.settled == world.written

    seconds = world.wait(done, "the end", 60 + ROWS / 4)
    print(f"{ROWS} rows settled in {seconds:.0f} s, all processes together {peak / 1e9:.2f} GB at most")
    assert peak < 8 * GIBIBYTE
    world.examine()
    with dg.DagsterInstance.from_config(str(world.home)) as instance:
        runs = instance.get_runs(filters=dg.RunsFilter(job_name="summarize_batches"))
        world.wait(lambda: all(run.is_finished for run in instance.get_runs()), "the end of the last run", 60)
        assert len(runs) <= ROWS / 200 + 5, "a run takes several batches"
        ticks = world.ticks(instance, "new_records")
        longest = max(tick.end_timestamp - tick.timestamp for tick in ticks if tick.end_timestamp)
        print(f"{len(ticks)} ticks, the longest {longest:.2f} s")
        assert all(tick.error is None for tick in ticks)
        assert "no new batches" in ticks[0].skip_reason


KINDS = ("code server", "daemon", "web server", "worker", "supervisor", "all")


@pytest.mark.timeout(3_600)
def test_whatever_is_killed_the_work_goes_on_by_itself(system: tuple[System, Served]) -> None:
    world, served = system
    rng = random.Random(ROUNDS)
    kills = 0
    for kind in KINDS * ROUNDS:
        world.write(100)
        goal = world.settled + rng.randint(1, 60)
        world.wait(lambda goal=goal: world.settled >= goal, f"some work before the {kind} is killed", 240)
        if kind == "worker":
            world.wait(lambda: served.of("worker"), "a worker", 120)
        time.sleep(rng.uniform(0, 1))
        served.kill(served.processes() if kind == "all" else served.of(kind))
        kills += 1
        if kind in ("all", "supervisor"):
            served.start()
    seconds = world.wait_until_settled(600)
    print(f"settled {seconds:.0f} s after the last of {kills} kills")
    world.examine()
    asked = len(world.faults.asked())
    print(f"{asked} inferences for {world.written} records, {kills} kills")
    assert asked <= world.written + kills * 2 * 10, "a kill costs a chunk for each run that it hits"
    with dg.DagsterInstance.from_config(str(world.home)) as instance:
        world.wait(lambda: all(run.is_finished for run in instance.get_runs()), "the end of every run", 120)
        storage = instance.event_log_storage
        world.wait(lambda: not storage.get_concurrency_info("device").active_run_ids, "every slot coming back", 120)
    assert world.store.claims.owners() == []


@pytest.mark.timeout(600)
def test_two_runs_of_a_partition_and_a_tick_at_once(system: tuple[System, Served]) -> None:
    """Two runs of the same partitions are launched by hand at the moment when the sensor starts its own."""
    from dagster_graphql import DagsterGraphQLClient

    world, served = system
    world.write(150)
    world.wait(lambda: len(world.store.versions.batches()) == 3, "the batches", 60)
    with dg.DagsterInstance.from_config(str(world.home)) as instance:
        world.wait(lambda: len(instance.get_dynamic_partitions("record_batches")) == 3, "the partitions", 30)
        client = DagsterGraphQLClient("127.0.0.1", port_number=int(served.url.rpartition(":")[2]))
        tags = {
            "dagster/asset_partition_range_start": "batch-000001", "dagster/asset_partition_range_end": "batch-000003",
        }  # fmt: skip
        by_hand = [client.submit_job_execution("summarize_batches", tags=tags) for _ in range(2)]
        world.wait_until_settled(180)
        world.wait(lambda: all(run.is_finished for run in instance.get_runs()), "the end of every run", 120)
        statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert set(by_hand) <= set(statuses)
    assert set(statuses.values()) == {dg.DagsterRunStatus.SUCCESS}
    world.examine()
    assert len(world.faults.asked()) == 150, "nothing was inferred twice"


@pytest.mark.timeout(600)
def test_failures_that_may_pass_are_retried_by_the_schedule_and_metrics_follow(tmp_path: Path) -> None:
    """A batch is red while the fault lasts; the others have summaries and metrics; then it mends by itself."""
    world = System(tmp_path, pipeline_failed_share_limit=0.1)
    world.faults.set("f3(", "f4(", "f5(", "f6(", "f7(", "f8(")
    world.write(100)
    with dagster_dev(tmp_path, world.environment):
        world.wait(lambda: world.status["failed"] >= 6 and world.settled == 100, "the failures", 180)
        with dg.DagsterInstance.from_config(str(world.home)) as instance:
            world.wait(lambda: world.store.batch_reports.metrics("batch-000002"), "the metrics of the good batch", 120)
            failed = instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
            assert failed
            world.faults.set()
            world.faults.asked()
            world.wait(lambda: world.store.batch_reports.metrics("batch-000001"), "the retry by the schedule", 400)
            by = {run.tags.get("dobby/asked_by") for run in instance.get_runs()}
            assert "retry_failed" in by
        assert set(world.faults.asked()) == {content(number) for number in range(3, 9)}
        world.examine()
